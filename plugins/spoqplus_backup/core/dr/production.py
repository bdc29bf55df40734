"""Is production really unreachable? Seen from here: a port, a query, the pages that people open."""

import contextlib
import socket
from collections.abc import Iterator

from spoqplus_backup.core.connections import Connections, DatabaseLogin
from spoqplus_backup.core.dr.findings import Finding, Reached, Verdict
from spoqplus_backup.core.dr.pages import no_answer
from spoqplus_backup.core.dr.request import Mode
from spoqplus_backup.core.dr.server import dr_settings
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.settings import Settings

TCP_SECONDS = 5.0


def look_at_production(settings: Settings, connections: Connections, mode: Mode) -> tuple[Reached, list[Finding]]:
    """What of production answers. What does is good news for a rehearsal, and a warning before a failover."""
    login = connections.database(settings.database.connection)
    found = [_port(login), _query(login), *_pages(settings)]
    answering = [there for there, _ in found]
    reached: Reached = "reachable" if all(answering) else "partly" if any(answering) else "unreachable"
    return reached, list(_judged(found, mode))


def _judged(found: list[tuple[bool, Notice]], mode: Mode) -> Iterator[Finding]:
    for there, what in found:
        verdict: Verdict = "good" if there == (mode == "rehearsal") else "warning"
        yield Finding(subject="production", verdict=verdict, what=what)


def _port(login: DatabaseLogin) -> tuple[bool, Notice]:
    try:
        with contextlib.closing(_connected(login)):
            return True, notice("dr.production.port", "The database's port {address} is open.", address=login.address)
    except OSError as error:
        words = error.strerror or str(error) or type(error).__name__
        return False, notice(
            "dr.production.no_port",
            "The database's port {address} can't be reached ({words}).",
            address=login.address,
            words=words,
        )


def _connected(login: DatabaseLogin) -> socket.socket:
    if login.socket is None:
        return socket.create_connection((login.host or "127.0.0.1", login.port), TCP_SECONDS)
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(TCP_SECONDS)
    try:
        connected.connect(login.socket)
    except OSError:
        connected.close()
        raise
    return connected


def _query(login: DatabaseLogin) -> tuple[bool, Notice]:
    try:
        with server.connect(login) as connection:
            facts = server.facts(connection)
    except BackupError as error:
        return False, notice("dr.production.no_query", "The database answers no query: {words}", words=error)
    return True, notice("dr.production.query", "The database answers queries ({version}).", version=facts.version_text)


def _pages(settings: Settings) -> Iterator[tuple[bool, Notice]]:
    for url in dr_settings(settings).urls:
        words = no_answer(url)
        if words is None:
            yield True, notice("dr.production.page", "{url} answers.", url=url)
        else:
            yield False, notice("dr.production.no_page", "{url} does not answer ({words}).", url=url, words=words)
