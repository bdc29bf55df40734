"""A page of a test application that has to answer."""

import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException, HTTPResponse
from typing import IO

from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.proof.definitions import HttpCheck
from spoqplus_backup.core.proof.scene import CheckFailed, Scene

MOST_BYTES = 10 << 20
BLOCK_BYTES = 1 << 16


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is asked has to answer itself."""

    def redirect_request(self, *arguments: object) -> None:
        """None of them is followed."""


class _TooSlowError(OSError):
    """The whole answer did not come in time."""


def check(scene: Scene, definition: HttpCheck) -> Sequence[Notice]:
    """Ask for the page; see `answer_of`."""
    return answer_of(definition)


def answer_of(definition: HttpCheck) -> Sequence[Notice]:
    """Ask for the page.

    Raises:
        CheckFailed: there is no answer, or another one.
    """
    wanted = definition.http
    started = time.monotonic()
    try:
        status, body = ask(wanted.url, definition.timeout_seconds)
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise CheckFailed(
            notice(
                "check.http.no_answer",
                "{url} gives no answer ({words}): is the test application running?",
                url=wanted.url,
                words=str(reason) or type(error).__name__,
            )
        ) from error
    if status != wanted.status:
        raise CheckFailed(
            notice(
                "check.http.status",
                "{url} answers with status {found}; expected: {expected}.",
                url=wanted.url,
                found=status,
                expected=wanted.status,
            )
        )
    if wanted.contains is not None and wanted.contains.encode() not in body:
        raise CheckFailed(
            notice(
                "check.http.lacks",
                '{url} answers with status {found}, but without the text "{text}".',
                url=wanted.url,
                found=status,
                text=wanted.contains,
            )
        )
    return [
        notice(
            "check.http.answered",
            "{url} answered with status {found} in {seconds} s.",
            url=wanted.url,
            found=status,
            seconds=f"{time.monotonic() - started:.1f}",
        )
    ]


def ask(url: str, seconds: float) -> tuple[int, bytes]:
    """The status and the beginning of what a page answers, from here: past any proxy, following nothing.

    Raises:
        OSError: there is no answer in time.
        HTTPException: it is none.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    deadline = time.monotonic() + seconds
    try:
        with opener.open(url, timeout=seconds) as answer:
            return answer.status, _read(answer, deadline)
    except urllib.error.HTTPError as error:  # any status that is no success
        with error:
            return error.code, _read(error, deadline)


def _read(answer: HTTPResponse | IO[bytes], deadline: float) -> bytes:
    """The answer's beginning, at most MOST_BYTES."""
    body = b""
    while (block := answer.read(BLOCK_BYTES)) and len(body) < MOST_BYTES:
        check_cancelled()
        body += block
        if time.monotonic() > deadline:
            raise _TooSlowError("the answer does not end")
    return body
