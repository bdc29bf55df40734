"""Looks at everything side by side, for no longer than a person waits."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.doctor import local, servers
from spoqplus_backup.core.doctor.model import Area, Checkup, Line, wrong
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.notice import notice
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 30.0  # what has not answered by then is as good as out of order


class Question(NamedTuple):
    """What is asked; where it is filed when there is no answer."""

    area: Area
    name: str
    ask: Callable[[], Iterable[Line]]


def checkup(
    settings: Settings,
    connections: Connections,
    *,
    restoring: bool = False,
    writing: bool = True,
    seconds: float | None = None,
) -> Checkup:
    """Look at a site's installation from this machine. What can't be reached is a line, never an error.

    Args:
        settings: the site.
        connections: where its credentials are.
        restoring: of a machine that restores: its private keys and the server that it restores to.
        writing: try to write to the repositories, with a small object that is removed again.
        seconds: how long to wait for an answer; `PATIENCE_SECONDS` when None.
    """
    patience = PATIENCE_SECONDS if seconds is None else seconds
    found = ask_all(_questions(settings, connections, restoring=restoring, writing=writing), patience)
    return Checkup(site=settings.site, machine=socket.gethostname(), lines=tuple(found))


def _questions(settings: Settings, connections: Connections, *, restoring: bool, writing: bool) -> list[Question]:
    found = [
        Question("configuration", "site", lambda: local.fields(settings, connections, restoring=restoring)),
        Question("keys", "keys", lambda: local.keys(settings, connections, restoring=restoring)),
        Question("tools", "tools", lambda: local.tools(settings, restoring=restoring)),
        Question("space", "staging.directory", lambda: local.staging(settings)),
    ]
    connection = settings.restore.test_connection if restoring else settings.database.connection
    ask = servers.target if restoring else servers.production
    found.append(Question("connections", connection, lambda: ask(settings, connections)))
    for item in settings.repositories:
        found.append(
            Question(
                "connections",
                item.name,
                lambda item=item: servers.repository(  # type: ignore[misc] # the item of this turn
                    settings, connections, item, writing=writing and not restoring
                ),
            )
        )
    return found


def ask_all(questions: Sequence[Question], seconds: float) -> list[Line]:
    """The answers in the questions' order; who has not said everything in time is left behind."""
    answers: list[list[Line]] = [[] for _ in questions]
    ended = [threading.Event() for _ in questions]

    def ask(number: int, question: Question) -> None:
        for line in _answer(question):
            answers[number].append(line)
        ended[number].set()

    for number, question in enumerate(questions):
        threading.Thread(target=ask, args=(number, question), name=f"doctor {question.name}", daemon=True).start()
    deadline = time.monotonic() + seconds
    for number, question in enumerate(questions):
        if not ended[number].wait(max(0.0, deadline - time.monotonic())):
            sentence = (
                "gave no answer within {seconds} s: see whether it can be reached from this machine (network, "
                "firewall, a mounted disk that hangs)."
            )
            silent = wrong(question.area, question.name, notice("doctor.silent", sentence, seconds=f"{seconds:g}"))
            answers[number] = [*answers[number], silent]
    return [line for lines in answers for line in lines]


def _answer(question: Question) -> Iterable[Line]:
    try:
        yield from question.ask()
    except BackupError as error:
        yield wrong(question.area, question.name, error)
    except OSError as error:
        yield wrong(question.area, question.name, f"{error.filename or question.name}: {error.strerror or error}")
    except Exception as error:
        log.debug("The doctor failed at %s", question.name, exc_info=True)
        odd = notice(
            "doctor.odd",
            "could not be looked at ({kind}): run `spoqplus-backup --verbose doctor` and report what it says.",
            kind=type(error).__name__,
        )
        yield wrong(question.area, question.name, odd)
