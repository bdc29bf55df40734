"""A stand-in for Slack's incoming webhooks: keeps what it got, and answers as it is told."""

import json
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
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.requests += 1
                status = sink.statuses.pop(0) if sink.statuses else 200
                if status == 200:
                    sink.messages.append(json.loads(body))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"ok" if status == 200 else b"no_service")

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

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
