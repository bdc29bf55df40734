"""A name server on the loopback interface that answers what it is told to."""

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


@dataclass
class NameServer:
    """`records` are by name (with the last dot) and type; one of them that has several lists gives one at a time."""

    address: str = ""
    records: dict[tuple[str, str], list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, question: bytes) -> bytes:
        query = dns.message.from_wire(question)
        name, kind = str(query.question[0].name).lower(), query.question[0].rdtype.name
        self.asked.append(f"{name} {kind}")
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        told = self.records.get((name, kind))
        if told is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            values = told.pop(0) if len(told) > 1 else told[0]
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *values))
        return answer.to_wire()


@contextlib.contextmanager
def name_server() -> Iterator[NameServer]:
    """One that knows nothing yet."""
    found = NameServer()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, socket = self.request
            socket.sendto(found.answer(data), self.client_address)

    server: Any = socketserver.UDPServer(("127.0.0.1", 0), Handler)
    found.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
