"""Retention and holds from a shell."""

import json
from pathlib import Path

import pytest
import yaml

from spoqplus_backup.cli import main
from spoqplus_backup.core.repository import leases
from support.history import DAY, Past, make_past

pytestmark = pytest.mark.integration


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    """Five daily sets of which two are kept."""
    repository = {"name": "local", "root": f"file://{tmp_path}/repository", "keep": {"days": None, "daily": 2}}
    made = make_past(tmp_path, repositories=[repository])
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(made.settings.source))
    for days in (9, 8, 7, 3, 2):
        made.publish(made.repository(), "daily", DAY * days)
    return made


def names(past: Past) -> list[str]:
    return sorted({key.rpartition("/")[0] for key in past.repository().list("daily/") if key.endswith("manifest.json")})


def test_a_dry_run_shows_the_plan_and_deletes_nothing(past: Past, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(past)
    assert main(["retention", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "3 to delete" in said
    assert f"| `{before[0]}` |" in said
    assert names(past) == before


def test_much_is_only_deleted_when_a_person_types_the_repository_s_name(
    past: Past, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(past)
    monkeypatch.setattr("builtins.input", lambda prompt: print(prompt) or "yes")
    assert main(["retention"]) == 1
    assert "This deletes 60% of local. Type local to go on" in capsys.readouterr().out
    assert names(past) == before

    monkeypatch.setattr("builtins.input", lambda _: "local")
    assert main(["retention"]) == 0
    assert "local: deleted 3 sets" in capsys.readouterr().out
    assert names(past) == before[3:]
    assert main(["retention"]) == 0, "there is nothing left to ask about"


def test_a_hold_is_shown_obeyed_and_released(past: Past, capsys: pytest.CaptureFixture[str]) -> None:
    held = names(past)[0]
    assert main(["hold", held, "--reason", "audit 2026-7"]) == 0
    assert f"{held} is held: audit 2026-7 (" in capsys.readouterr().out
    assert main(["list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    (place,) = (place for place, line in enumerate(listed) if held in line)
    assert "audit 2026-7 (" in listed[place + 1]

    assert main(["retention", "--yes"]) == 0
    assert names(past)[0] == held
    capsys.readouterr()
    leases.take(past.repository(), held, "spoqplus_restore/run", "restore")
    assert main(["holds"]) == 0
    said = capsys.readouterr().out
    assert "1 holds, 1 in use" in said
    assert "restore until" in said

    assert main(["release", held]) == 0
    assert main(["release", held]) == 1
    assert "is not held" in capsys.readouterr().err


def test_a_hold_needs_a_reason_and_a_set(past: Past, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hold", names(past)[0], "--reason", " "]) == 1
    assert "needs a reason" in capsys.readouterr().err
    assert main(["hold", "20200101", "--reason", "why not"]) == 1
    assert "There is no backup 20200101" in capsys.readouterr().err


def test_a_host_that_can_not_sign_can_not_hold(past: Past, capsys: pytest.CaptureFixture[str]) -> None:
    content = yaml.safe_load(past.settings.source.read_text())
    del content["signing"]["private_key_file"]
    past.settings.source.write_text(yaml.safe_dump(content))
    assert main(["hold", names(past)[0], "--reason", "audit"]) == 1
    assert "hold the set on a host that signs" in capsys.readouterr().err


def test_a_repository_that_is_not_there_holds_up_no_other(
    past: Past, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.safe_load(past.settings.source.read_text())
    content["repositories"].insert(0, {"name": "s3", "root": "s3://nowhere", "connection": "spoqplus_aws"})
    past.settings.source.write_text(yaml.safe_dump(content))
    record = {
        "conn_type": "aws",
        "login": "x",
        "password": "x",
        "extra": {
            "endpoint_url": "http://127.0.0.1:1",
            "config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 1}},
        },
    }
    monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_AWS", json.dumps(record))
    assert main(["retention", "--yes"]) == 1
    captured = capsys.readouterr()
    assert "s3: s3://nowhere" in captured.err
    assert "local: deleted 3 sets" in captured.out
