"""Asks a page whether it answers: from here, past no proxy, without following where it leads."""

import urllib.error
from http.client import HTTPException

from spoqplus_backup.core.proof.checks.http import ask

SECONDS = 10.0
ANSWERS = range(200, 400)  # a page that leads elsewhere is there


def no_answer(url: str) -> str | None:
    """Why a page gives no answer, in a few words; None when it gives one."""
    try:
        status, _ = ask(url, SECONDS)
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return str(reason) or type(error).__name__
    return None if status in ANSWERS else f"status {status}"
