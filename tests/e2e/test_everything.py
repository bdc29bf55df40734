"""A site with everything in a real Airflow: every cadence, copied, thinned out, and all of it back in an empty root."""

import contextlib
import dataclasses
import io
import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import compare
from airflow_instance import RUN_ENDED
from slack_sink import words
from spoqplus_backup.cli import main
from spoqplus_backup.core.connections import EnvironmentConnections
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.settings import load_settings
from support import servers
from support.club import Club
from support.history import DAY, Past
from support.keys import SigningPair
from support.trees import described, differences
from support.world import DATABASE_PASSWORD, World, with_login

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DAILY, REPLICATION, RETENTION, RESTORE = (
    f"club_{dag}" for dag in ("daily_backup", "replication", "retention", "restore")
)
EVERYTHING = ("database", "accounts", "face_images", "uploads", "config", "environment", "logs")


@pytest.fixture
def site(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world as this site sees it; its connections are the process's own, too."""
    for connection, value in world.connections.items():
        monkeypatch.setenv(connection, value)
    return dataclasses.replace(world, settings=load_settings(world.settings.source.with_name("club.yaml")))


def back_up(site: World, *cadences: str) -> list[str]:
    """Backups that are started at once; the names of their sets."""
    runs = {f"club_{cadence}_backup": site.airflow.trigger(f"club_{cadence}_backup") for cadence in cadences}
    for dag_id, run in runs.items():
        assert site.airflow.wait(dag_id, run) == "success", site.airflow.task_states(dag_id, run)
    return [site.airflow.xcom(dag_id, run, "publish")["set"] for dag_id, run in runs.items()]


def replicated(site: World, sets: Iterable[str]) -> list[dict[str, Any]]:
    """The runs of the replication, when they have ended and all of the sets are in the other region."""
    runs: list[dict[str, Any]] = site.airflow.request("GET", f"/dags/{REPLICATION}/dagRuns")["dag_runs"]
    if not runs or any(run["state"] not in RUN_ENDED for run in runs):  # to list takes longer than to ask for the runs
        return []
    there = {item["set"] for item in listed(site, "--repository", "dr")}
    return runs if there >= set(sets) else []


def observed(server: SandboxServer) -> compare.Snapshot:
    return compare.snapshot(server.connect(), ["spoqplus"])


def listed(site: World, *options: str) -> list[dict[str, Any]]:
    """What `spoqplus-backup list` says of each set."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["--config", str(site.settings.source), "list", "--json", *options]) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


def in_git(club: Club) -> dict[str, str]:
    """The files of the newest branch, by their last name."""

    def git(*words: str) -> str:
        command = ["git", "--git-dir", club.folder / "remote.git", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    branch = git("branch", "--format=%(refname:short)").split()[-1]
    assert branch.startswith("backup-20")
    names = git("ls-tree", "-r", "--name-only", branch).split()
    return {Path(name).name: git("show", f"{branch}:{name}") for name in names}


def test_everything_is_backed_up_copied_and_restored(site: World, club: Club) -> None:
    airflow = site.airflow
    servers.run(site.production, "CREATE USER coach@localhost IDENTIFIED BY 'coach'")
    servers.run(site.production, "GRANT SELECT ON spoqplus.* TO coach@localhost")
    (weekly,) = back_up(site, "weekly")
    club.a_day_later()
    daily, monthly = back_up(site, "daily", "monthly")
    sets = (weekly, daily, monthly)

    # beside the sets: the mirror, and git without secrets
    assert in_git(club) == {"App.php": "<?php // changed"}
    mirrored, uploads = described(club.folder / "mirror"), described(club.www / "uploads")
    del mirrored[b".spoqplus-mirror"]
    assert [line for line in differences(uploads, mirrored) if not line.startswith("b'.':")] == []

    # the other region has all of it by itself
    runs = airflow.until("everything is replicated", lambda: replicated(site, sets), 120)
    assert {(run["run_type"], run["state"]) for run in runs} == {("asset_triggered", "success")}
    # nothing comes and goes any more
    for folder in ("repository", "mirror", "remote.git"):
        for path in (club.folder / folder).rglob("*"):
            assert not path.is_file() or DATABASE_PASSWORD.encode() not in path.read_bytes(), path
    for name in sets:
        manifest = site.manifest("dr", name)
        assert {component.name for component in manifest.components} == set(EVERYTHING)

    # retention keeps it, and deletes what is old
    signing = site.settings.signing
    assert signing.private_key_file is not None
    keys = SigningPair(signing.private_key_file, signing.public_key_files[0])
    past = Past(site.settings, EnvironmentConnections(), keys, club.folder)
    old = past.publish(past.repository("local"), "daily", DAY * 20)
    run = airflow.trigger(RETENTION)
    assert airflow.wait(RETENTION, run) == "success", airflow.task_states(RETENTION, run)
    assert airflow.xcom(RETENTION, run, "local.delete")["sets"] == [old]

    found = listed(site)
    assert {item["set"] for item in found} == set(sets)
    for item in found:
        assert (item["copies"], item["media"], item["offsite"]) == (4, ["disk", "object-storage"], ["s3", "dr"])
        assert item["holds_3_2_1"]

    # from the other region alone: into an empty server and an empty root
    servers.empty(site.test_server)
    with_login(site.test_server)
    asked = {"backup": daily, "repository": "dr", "components": list(EVERYTHING), "target_root": str(club.root)}
    run = airflow.trigger(RESTORE, asked)
    assert airflow.wait(RESTORE, run) == "success", airflow.task_states(RESTORE, run)

    assert compare.differences(observed(site.production), observed(site.test_server)) == []
    del uploads[b"half an upload.tmp"]
    assert differences(uploads, described(club.restored("uploads"))) == []
    for place in ("faces", "Config", ".env"):
        assert differences(described(club.www / place), described(club.restored(place))) == [], place
    logs = described(club.restored("logs"))
    assert {facts.pop("owner") for facts in logs.values()} == {(33, 33)}
    for facts in (written := described(club.www / "logs")).values():
        del facts["owner"]
    assert differences(written, logs) == []
    assert (club.root / "spoqplus-environment.env").read_text().splitlines()[1:] == [
        "APP_NAME='두 번째'",
        f"DB_PASSWORD='{DATABASE_PASSWORD}'",
    ]
    assert sorted(path.name for path in club.root.iterdir()) == sorted(["spoqplus-environment.env", club.www.parts[1]])


def test_what_goes_wrong_beside_the_set_does_not_keep_it_from_being_published(site: World, club: Club) -> None:
    """The uploads' disk is not mounted, and the git server is down."""
    uploads, elsewhere = club.www / "uploads", club.www / "elsewhere"
    uploads.rename(elsewhere)
    uploads.mkdir()
    shutil.move(club.folder / "remote.git", club.folder / "down.git")
    run = site.airflow.trigger(DAILY)

    assert site.airflow.wait(DAILY, run) == "failed"

    tasks = site.airflow.tasks(DAILY, run)
    assert {name for name, task in tasks.items() if task["state"] == "failed"} == {"mirror", "notify"}
    assert tasks["mirror"]["try_number"] == 1, "nobody mounts a disk in half a minute"
    assert (tasks["config_git"]["state"], tasks["config_git"]["try_number"]) == ("success", 3)
    assert site.manifest("local", site.airflow.xcom(DAILY, run, "publish")["set"])
    assert (club.folder / "mirror" / "large").exists()
    told = "\n".join(map(words, site.slack.messages))
    assert "club 백업 실패" in told
    assert "is empty, as one is whose disk is not mounted" in told
    assert "git에 커밋되지 않았습니다" in told

    uploads.rmdir()
    elsewhere.rename(uploads)
    site.airflow.clear(DAILY, run, ["mirror"])
    assert site.airflow.wait(DAILY, run) == "success"
