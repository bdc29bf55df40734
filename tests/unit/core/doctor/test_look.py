"""The doctor waits for nobody, dies of nothing and tells clocks."""

import threading
import time
from collections.abc import Iterator
from typing import Literal

import pytest

from spoqplus_backup.core.doctor.look import Question, ask_all
from spoqplus_backup.core.doctor.model import Line, good
from spoqplus_backup.core.doctor.servers import clock
from spoqplus_backup.core.errors import BackupError


def test_who_gives_no_answer_is_left_behind() -> None:
    ended = threading.Event()

    def hang() -> Iterator[Line]:
        ended.wait(60)
        yield good("connections", "late")

    began = time.monotonic()
    quick, late = ask_all(
        [Question("tools", "quick", lambda: [good("tools", "quick")]), Question("connections", "nas", hang)], 0.2
    )
    assert time.monotonic() - began < 30
    ended.set()
    assert quick.status == "ok"
    assert (late.area, late.name, late.status) == ("connections", "nas", "failed")
    assert late.said.words.startswith("gave no answer within 0.2 s: see whether")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BackupError("The bucket is gone: make it."), "The bucket is gone: make it."),
        (PermissionError(13, "Permission denied", "/backup"), "/backup: Permission denied"),
        (ValueError("password=hunter2"), "could not be looked at (ValueError)"),
    ],
)
def test_an_error_is_a_line_and_tells_no_secret(error: Exception, words: str) -> None:
    def fail() -> Iterator[Line]:
        yield good("tools", "first")
        raise error

    first, failed = ask_all([Question("tools", "all", fail)], 10)
    assert (first.status, failed.status) == ("ok", "failed")
    assert words in failed.said.words
    assert "hunter2" not in failed.said.words


@pytest.mark.parametrize(
    ("skew", "status"), [(0.4, "ok"), (-4.9, "ok"), (7.0, "warning"), (-250.0, "warning"), (-301.0, "failed")]
)
def test_clocks(skew: float, status: Literal["ok", "warning", "failed"]) -> None:
    line = clock("s3", skew)
    assert line.status == status
    assert f"{skew:+.1f} s" in line.said.words
