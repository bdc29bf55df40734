"""A check that breaks is a result, its evidence is bounded, and no row's content is in it."""

from pathlib import Path

import pytest

from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.notice import notice
from spoqplus_backup.core.process import Cancelled
from spoqplus_backup.core.proof.checks import records
from spoqplus_backup.core.proof.model import MOST_EVIDENCE
from spoqplus_backup.core.proof.run import run_check
from spoqplus_backup.core.proof.scene import CheckFailed, Scene
from spoqplus_backup.core.settings import load_settings
from support.proof import fails, make_scene
from support.site_file import write_site


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make_scene(tmp_path, load_settings(write_site(tmp_path)))


def raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def check(scene: Scene) -> None:
        raise error

    monkeypatch.setattr(records, "check", check)


def test_an_error_of_ours_is_evidence(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    raises(monkeypatch, BackupError("The server is gone."))
    assert fails("records", scene) == "It could not be looked at: The server is gone."


def test_an_error_of_python_names_its_kind_and_place_but_not_its_words(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    raises(monkeypatch, ValueError("could not convert 김하나"))
    assert fails("records", scene).startswith("The check itself broke: ValueError in test_run.py:")


def test_what_was_cancelled_is_no_result(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    raises(monkeypatch, Cancelled("ended"))
    with pytest.raises(Cancelled):
        run_check("records", scene)


def test_evidence_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    raises(monkeypatch, CheckFailed(*(notice("check.more", "And {count} more.", count=n) for n in range(100))))
    result = run_check("records", scene)
    assert len(result.evidence) == MOST_EVIDENCE
    assert result.evidence[-1].words == f"And {101 - MOST_EVIDENCE} more."


def test_exactly_as_much_as_fits_is_not_cut(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    one = notice("check.more", "And {count} more.", count=7)
    raises(monkeypatch, CheckFailed(*[one] * MOST_EVIDENCE))
    assert run_check("records", scene).evidence == (one,) * MOST_EVIDENCE


def test_a_check_that_is_no_more(scene: Scene) -> None:
    with pytest.raises(PermanentError, match="There is no check older any more"):
        run_check("older", scene)
