"""Does the DR side work? Asked before the DNS leads people there, and once more behind it."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from spoqplus_backup.core.connections import Connections, DatabaseLogin
from spoqplus_backup.core.dr.pages import no_answer
from spoqplus_backup.core.dr.rds import pause
from spoqplus_backup.core.dr.server import dr_login, dr_settings, is_writable
from spoqplus_backup.core.errors import BackupError, PermanentError, SettingsError
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.proof.checks import http, sql
from spoqplus_backup.core.proof.definitions import CommandCheck, HttpCheck, SqlCheck, checks_in
from spoqplus_backup.core.proof.scene import CheckFailed
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
_SETTING = "`dr.health.checks`"


@dataclass(frozen=True)
class Answer:
    """What one check says."""

    name: str
    passed: bool
    words: tuple[Notice, ...]


def health_checks(settings: Settings) -> list[str]:
    """The names of what the file of the site asks.

    Raises:
        SettingsError: a file of checks is wrong.
    """
    return [*(check.name for check in _definitions(settings)), *dr_settings(settings).health.urls]


def _definitions(settings: Settings) -> Sequence[SqlCheck | HttpCheck]:
    found = []
    for check in checks_in(dr_settings(settings).health.checks, _SETTING):
        if isinstance(check, CommandCheck) or (isinstance(check, SqlCheck) and check.asks_production):
            raise SettingsError(
                f"{settings.source}: {_SETTING}: the check {check.name} is of a recovery test (a command, or compared "
                "with production): ask the DR side with `sql` or `http`."
            )
        found.append(check)
    return found


def wait_until_healthy(settings: Settings, connections: Connections, region: str) -> list[Answer]:
    """Ask until everything is as it should be, as long as `dr.health.wait_minutes`: servers take time to start.

    Raises:
        BackupError: something is still not; the message names it.
    """
    return _wait(settings, lambda: look(settings, connections, region))


def wait_until_public(settings: Settings, connections: Connections, region: str) -> list[Answer]:
    """As `wait_until_healthy`, and also the pages that people open, which the DNS leads to the DR side by now."""
    return _wait(
        settings,
        lambda: [*look(settings, connections, region), *(_page(url) for url in dr_settings(settings).urls)],
    )


def _wait(settings: Settings, ask: Callable[[], list[Answer]]) -> list[Answer]:
    deadline = time.monotonic() + dr_settings(settings).health.wait_minutes * 60
    while True:
        answers = ask()
        failed = [answer for answer in answers if not answer.passed]
        if not failed:
            return answers
        if time.monotonic() > deadline:
            words = "; ".join(f"{answer.name}: {' '.join(one.words for one in answer.words)}" for answer in failed)
            raise BackupError(f"The DR side is not healthy: {words}")
        log.info("Not yet: %s", ", ".join(answer.name for answer in failed))
        pause(POLL_SECONDS)


def look(settings: Settings, connections: Connections, region: str) -> list[Answer]:
    """Ask everything once; a wrong password or a wrong file is no reason to wait.

    Raises:
        PermanentError: it can't be asked.
    """
    login = dr_login(settings, connections, region)
    return list(_answers(settings, login))


def _answers(settings: Settings, login: DatabaseLogin) -> Iterator[Answer]:
    yield _writable(login)
    for check in _definitions(settings):
        yield _asked(check, login)
    for url in dr_settings(settings).health.urls:
        yield _page(url)


def _writable(login: DatabaseLogin) -> Answer:
    try:
        found = is_writable(login)
    except PermanentError:
        raise
    except BackupError as error:
        words = notice(
            "dr.database.away", "The database at {address} does not answer: {words}", address=login.address, words=error
        )
        return Answer("database", False, (words,))
    what = (
        notice("dr.database.writable", "The database at {address} takes writes.", address=login.address)
        if found.writable
        else notice(
            "dr.database.read_only",
            "The database at {address} takes no writes ({detail}).",
            address=login.address,
            detail=found.detail,
        )
    )
    return Answer("database", found.writable, (what,))


def _asked(check: SqlCheck | HttpCheck, login: DatabaseLogin) -> Answer:
    try:
        words = http.answer_of(check) if isinstance(check, HttpCheck) else sql.answer_of(login, check)
    except CheckFailed as failed:
        return Answer(check.name, False, tuple(failed.evidence))
    except BackupError as error:
        return Answer(check.name, False, (notice("check.error", "It could not be looked at: {words}", words=error),))
    return Answer(check.name, True, tuple(words))


def _page(url: str) -> Answer:
    words = no_answer(url)
    if words is None:
        return Answer(url, True, (notice("dr.page", "{url} answers.", url=url),))
    return Answer(url, False, (notice("dr.no_page", "{url} does not answer ({words}).", url=url, words=words),))
