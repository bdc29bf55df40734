"""A stand-in for Slack's incoming webhooks, for the demo and the tests: keeps what it got and shows it."""

import html
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Message = dict[str, Any]


class SlackSink:
    """Listens on a free loopback port while its `with` block lasts.

    `statuses` are the HTTP statuses of the next answers; when they are used up it answers 200.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.statuses: list[int] = []
        self.requests = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True  # a browser keeps its connection open
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="slack-sink", daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where a person sees what it got."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def connection(self) -> str:
        """As an Airflow connection, in JSON: for `AIRFLOW_CONN_...`."""
        return json.dumps(
            {
                "conn_type": "slackwebhook",
                "schema": "http",
                "host": f"127.0.0.1:{self.port}/services",
                "password": "T000/B000/secret-webhook-token",
            }
        )

    def __enter__(self) -> "SlackSink":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(sink: SlackSink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sink.requests += 1
            status = sink.statuses.pop(0) if sink.statuses else 200
            if status == 200:
                sink.messages.append(json.loads(body))
            self._answer(status, "text/plain", b"ok" if status == 200 else b"no_service")

        def do_GET(self) -> None:
            self._answer(200, "text/html; charset=utf-8", _page(sink.messages).encode())

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


def _page(messages: list[Message]) -> str:
    boxes = "".join(f"<pre>{html.escape(readable(message))}</pre>" for message in reversed(messages))
    style = "body{font-family:sans-serif;max-width:60em;margin:2em auto}pre{border:1px solid;padding:1em;overflow:auto}"
    return f"<!doctype html><title>Slack</title><style>{style}</style><h1>#backup</h1>{boxes or '…'}"


def readable(message: Message) -> str:
    """A message as Slack shows it, in lines of plain text."""
    lines: list[str] = []
    for block in message.get("blocks") or [{"text": {"text": message["text"]}}]:
        lines += [": ".join(field["text"].split("\n", 1)) for field in block.get("fields", [])]
        if "text" in block:
            lines += block["text"]["text"].splitlines()
        lines += [element["text"] for element in block.get("elements", [])]
    return "\n".join(_plain(line) for line in lines)


def _plain(mrkdwn: str) -> str:
    """Without Slack's marks: `*bold*`, `<url|label>`, escaped letters."""
    without_links = re.sub(r"<([^|>]+)\|([^>]+)>", r"\2: \1", mrkdwn)
    return html.unescape(re.sub(r"\*([^*]+)\*", r"\1", without_links))


def words(message: Message) -> str:
    """Everything that a person reads in a message."""

    def texts(part: object) -> list[str]:
        if isinstance(part, dict):
            found = [part["text"]] if isinstance(part.get("text"), str) else []
            return found + [text for value in part.values() for text in texts(value)]
        if isinstance(part, list):
            return [text for value in part for text in texts(value)]
        return []

    return "\n".join(texts(message))
