"""Pages that have to answer, of a real server."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from spoqplus_backup.core.proof.scene import Scene
from spoqplus_backup.core.settings import load_settings
from support.proof import fails, make_scene, passes
from support.site_file import write_site


@dataclass
class Application:
    """What it answers to everything; `go_on` lets a slow one end."""

    port: int = 0
    status: int = 200
    body: bytes = "로그인: SPOQ Plus".encode()
    holds_back: bool = False
    go_on: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def application() -> Iterator[Application]:
    state = Application()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(state.status)
            self.send_header("Location", f"http://127.0.0.1:{state.port}/elsewhere")
            self.send_header("Content-Length", str(len(state.body)))
            self.end_headers()
            if state.holds_back:
                state.go_on.wait(60)
            self.wfile.write(state.body)

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    state.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join()


def asks(directory: Path, port: int, timeout: float = 60, **page: Any) -> Scene:
    """A scene with a check `page`."""
    (directory / "checks").mkdir()
    check = {
        "name": "page",
        "title": {"ko": "화면", "en": "The page"},
        "http": {"url": f"http://127.0.0.1:{port}/login"} | page,
        "timeout_seconds": timeout,
    }
    (directory / "checks" / "page.yaml").write_text(yaml.safe_dump({"checks": [check]}))
    return make_scene(directory, load_settings(write_site(directory, recovery_test={"checks": ["checks"]})))


def test_a_page_that_answers(tmp_path: Path, application: Application) -> None:
    said = passes("page", asks(tmp_path, application.port, contains="로그인"))
    assert said.startswith(f"http://127.0.0.1:{application.port}/login answered with status 200 in ")


def test_an_error_of_the_application(tmp_path: Path, application: Application) -> None:
    application.status = 500
    assert "answers with status 500; expected: 200." in fails("page", asks(tmp_path, application.port))


def test_a_redirect_is_not_followed(tmp_path: Path, application: Application) -> None:
    application.status = 302
    scene = asks(tmp_path, application.port, status=302)
    passes("page", scene)
    application.status = 200
    assert "answers with status 200; expected: 302." in fails("page", scene)


def test_a_page_without_the_text(tmp_path: Path, application: Application) -> None:
    assert 'without the text "Welcome"' in fails("page", asks(tmp_path, application.port, contains="Welcome"))


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as bound:  # bound but not listening: nobody else gets it
        bound.bind(("127.0.0.1", 0))
        said = fails("page", asks(tmp_path, bound.getsockname()[1]))
    assert "gives no answer ([Errno 111] Connection refused): is the test application running?" in said


def test_a_page_that_never_ends(tmp_path: Path, application: Application) -> None:
    application.holds_back = True
    assert "gives no answer (timed out)" in fails("page", asks(tmp_path, application.port, timeout=0.5))
