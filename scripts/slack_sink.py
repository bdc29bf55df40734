"""A stand-in for Slack, for the demo and the tests: incoming webhooks and the API's messages; shows what it got.

It refuses what Slack refuses: another token, an unknown channel, blocks beyond Slack's limits, a message that is gone.
"""

import html
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Message = dict[str, Any]

TOKEN = "xoxb-secret-bot-token"  # noqa: S105 (of the stand-in)
WEBHOOK = "T000/B000/secret-webhook-token"
CHANNEL, CHANNEL_ID = "#backup", "C0BACKUP"
MOST_BLOCKS = 50
HEADER_CHARACTERS, TEXT_CHARACTERS, FIELD_CHARACTERS, MOST_FIELDS = 150, 3000, 2000, 10


class SlackSink:
    """Listens on a free loopback port while its `with` block lasts.

    `messages` are what it took, in order, as they read now: an answer in a thread has `thread_ts`. `statuses` are the
    HTTP statuses of the next answers; when they are used up it answers 200. A 429 says `retry_after`. `refusals` are
    the errors of the API's next answers (`ok: false`).
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.statuses: list[int] = []
        self.refusals: list[str] = []
        self.retry_after = 0
        self.requests = 0
        self.updates = 0
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"sink": self}))
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
        """Its webhook as an Airflow connection, in JSON: for `AIRFLOW_CONN_...`."""
        host = f"127.0.0.1:{self.port}/services"
        return json.dumps({"conn_type": "slackwebhook", "schema": "http", "host": host, "password": WEBHOOK})

    @property
    def bot_connection(self) -> str:
        """Its API as an Airflow connection."""
        extra = {"base_url": f"http://127.0.0.1:{self.port}/api/"}
        return json.dumps({"conn_type": "slack", "password": TOKEN, "extra": extra})

    @property
    def channel(self) -> list[Message]:
        """What the channel shows: everything but the answers that stay in their threads."""
        return [item for item in self.messages if "thread_ts" not in item or item.get("reply_broadcast")]

    def thread(self, message: Message) -> list[Message]:
        """The answers to a message."""
        return [item for item in self.messages if item.get("thread_ts") == message["ts"]]

    def take(self, method: str, body: Message) -> Message:
        """Do what a method of the API does."""
        if body.get("channel") not in (CHANNEL, CHANNEL_ID):
            return _refused("channel_not_found")
        if not _are_good(body.get("blocks") or []):
            return _refused("invalid_blocks")
        if not body.get("text") and not body.get("blocks"):
            return _refused("no_text")
        if method == "chat.update":
            return self._change(body)
        if method != "chat.postMessage":
            return _refused("unknown_method")
        posted = body | {"channel": CHANNEL_ID, "ts": f"1700000000.{len(self.messages) + 1:06d}"}
        self.messages.append(posted)
        return {"ok": True, "channel": CHANNEL_ID, "ts": posted["ts"], "message": posted}

    def _change(self, body: Message) -> Message:
        known = [item for item in self.messages if item.get("ts") == body.get("ts")]
        if body["channel"] != CHANNEL_ID or not known:  # the API takes a channel's name to post, not to update
            return _refused("message_not_found" if body["channel"] == CHANNEL_ID else "channel_not_found")
        self.updates += 1
        known[0].update({"text": body["text"], "blocks": body.get("blocks", known[0].get("blocks"))})
        return {"ok": True, "channel": CHANNEL_ID, "ts": body["ts"], "text": body["text"]}

    def __enter__(self) -> "SlackSink":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _refused(error: str) -> Message:
    return {"ok": False, "error": error}


def _are_good(blocks: list[Message]) -> bool:
    """Whether they keep to https://docs.slack.dev/reference/block-kit/blocks."""
    return len(blocks) <= MOST_BLOCKS and all(map(_is_good, blocks))


def _is_good(block: Message) -> bool:
    most = HEADER_CHARACTERS if block["type"] == "header" else TEXT_CHARACTERS
    words = [block["text"]["text"]] if "text" in block else []
    words += [item["text"] for item in block.get("elements", [])]
    fields = [item["text"] for item in block.get("fields", [])]
    if block["type"] != "divider" and not words and not fields:
        return False
    return (
        all(0 < len(text) <= most for text in words)
        and all(0 < len(text) <= FIELD_CHARACTERS for text in fields)
        and len(fields) <= MOST_FIELDS
    )


class _Handler(BaseHTTPRequestHandler):
    sink: SlackSink

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.sink.lock:
            self.sink.requests += 1
            status = self.sink.statuses.pop(0) if self.sink.statuses else 200
            answer = self._answer_api if self.path.startswith("/api/") else self._answer_webhook
            answer(status, body)

    def do_GET(self) -> None:
        self._answer(200, "text/html; charset=utf-8", _page(self.sink).encode())

    def _answer_api(self, status: int, body: Message) -> None:
        if status != 200:
            answer = _refused("ratelimited" if status == 429 else "internal_error")
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            answer = _refused("invalid_auth")
        elif self.sink.refusals:
            answer = _refused(self.sink.refusals.pop(0))
        else:
            answer = self.sink.take(self.path.removeprefix("/api/"), body)
        self._answer(status, "application/json; charset=utf-8", json.dumps(answer).encode())

    def _answer_webhook(self, status: int, body: Message) -> None:
        if status == 200 and not _are_good(body.get("blocks") or []):
            status = 400
        if status == 200:
            self.sink.messages.append(body)
        said = {200: b"ok", 400: b"invalid_blocks", 429: b"rate_limited"}.get(status, b"no_service")
        self._answer(status, "text/plain", said)

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", str(self.sink.retry_after))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _page(sink: SlackSink) -> str:
    boxes = ""
    for message in reversed([item for item in sink.messages if "thread_ts" not in item]):
        answers = sink.thread(message) if "ts" in message else []
        inner = "".join(f"<pre class=answer>{html.escape(readable(item))}</pre>" for item in answers)
        boxes += f"<pre>{html.escape(readable(message))}</pre>{inner}"
    style = "body{font-family:sans-serif;max-width:60em;margin:2em auto}pre{border:1px solid;padding:1em;overflow:auto}"
    style += ".answer{margin-left:4em}"
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
