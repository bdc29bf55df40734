"""Programs that say by their exit status whether all is well."""

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.proof.scene import Scene
from spoqplus_backup.core.settings import load_settings
from support.proof import NOWHERE, fails, make_scene, passes
from support.servers import is_alive, wait_until
from support.site_file import write_site


def runs(directory: Path, *command: str, login: DatabaseLogin = NOWHERE, **fields: Any) -> Scene:
    """A scene with a check `tests`."""
    (directory / "checks").mkdir()
    check = {"name": "tests", "title": {"ko": "시험", "en": "Tests"}, "command": list(command)} | fields
    (directory / "checks" / "tests.yaml").write_text(yaml.safe_dump({"checks": [check]}))
    settings = load_settings(write_site(directory, recovery_test={"checks": ["checks"]}))
    return make_scene(directory, settings, login, files_root=directory / "files")


def script(directory: Path, *lines: str) -> str:
    """A shell script; how to call it."""
    path = directory / "run_tests.sh"
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return str(path)


def test_a_command_that_ends_well(tmp_path: Path) -> None:
    assert "run_tests.sh ended well in " in passes("tests", runs(tmp_path, script(tmp_path, "exit 0")))


def test_it_starts_in_its_folder_and_without_a_shell(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    script(tmp_path / "app", 'test "$1" = "a b; exit 1" && test "$PWD" = "$2"')
    passes("tests", runs(tmp_path, "./run_tests.sh", "a b; exit 1", str(tmp_path / "app"), cwd=str(tmp_path / "app")))


def test_it_finds_the_sandbox_by_a_file_of_its_owner_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "a secret of the worker")
    login = DatabaseLogin(host=None, user="root", password='p"w', socket="/run/sandbox.sock")
    lines = ('stat -c %a "$SPOQPLUS_SANDBOX_DEFAULTS"', 'cat "$SPOQPLUS_SANDBOX_DEFAULTS"', "env")
    output = tmp_path / "output"
    scene = runs(tmp_path, script(tmp_path, f"exec >'{output}'", *lines), login=login)
    passes("tests", scene)
    mode, *content = output.read_text().splitlines()
    assert mode == "600"
    assert {"[client]", 'user="root"', 'password="p\\"w"', 'socket="/run/sandbox.sock"'} <= set(content)
    assert "SPOQPLUS_SANDBOX_SOCKET=/run/sandbox.sock" in content
    assert f"SPOQPLUS_FILES_ROOT={tmp_path}/files" in content
    assert "a secret of the worker" not in output.read_text()
    assert not list(scene.directory.iterdir()), "nothing of it stays"
    assert stat.S_ISREG(output.stat().st_mode)


def test_a_command_that_fails_says_its_last_lines(tmp_path: Path) -> None:
    lines = ("seq 1 50", "echo 'FAILURES! payments' >&2", "exit 3")
    first, *said = fails("tests", runs(tmp_path, script(tmp_path, *lines))).splitlines()
    assert first.endswith("run_tests.sh ended with exit status 3.")
    assert {"It said: 50", "It said: FAILURES! payments"} <= set(said)
    assert "It said: 5" not in said
    assert len(said) <= 10


def test_much_output_is_not_kept(tmp_path: Path) -> None:
    said = fails("tests", runs(tmp_path, script(tmp_path, "head -c 30000000 /dev/zero | tr '\\0' x", "exit 1")))
    assert len(said) < 1000


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    lines = (f"sleep 1000 & echo $! >'{child}'", "echo begun", "wait")
    said = fails("tests", runs(tmp_path, script(tmp_path, *lines), timeout_seconds=3))
    assert "run_tests.sh was ended after 3 s." in said
    assert "It said: begun" in said
    wait_until(lambda: not is_alive(int(child.read_text())), 30, "the child's end")


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    assert f"./missing.sh can't be run in {tmp_path}/checks." in fails("tests", runs(tmp_path, "./missing.sh"))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    said = fails("tests", runs(tmp_path, "true", cwd="/no/such/folder"))
    assert said == "The folder /no/such/folder is not there."
