"""Face images, environment, mirror and git copy in a real Airflow."""

import shutil
import subprocess
from pathlib import Path

import pytest

from support.world import DATABASE_PASSWORD, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DAILY = "gallery_daily_backup"


def test_everything_of_a_site_is_backed_up(world: World, gallery: Path) -> None:
    run = world.airflow.trigger(DAILY)
    assert world.airflow.wait(DAILY, run) == "success", world.airflow.task_states(DAILY, run)

    published = world.airflow.xcom(DAILY, run, "publish")
    assert [item["name"] for item in published["components"]] == ["database", "accounts", "face_images", "environment"]
    assert len(list((gallery / "repository" / "faces").rglob("*.zst.age"))) == 20
    assert sorted(path.name for path in (gallery / "mirror").glob("[0-9]*")) == sorted(map(str, range(20)))
    branches = subprocess.run(
        ["git", "--git-dir", gallery / "remote.git", "branch"], check=True, capture_output=True, text=True
    ).stdout
    assert branches.strip().startswith("backup-20")
    told = world.told()
    assert "얼굴 이미지" in told
    assert "gallery 백업 완료" in told
    for path in gallery.rglob("*"):
        if path.is_file() and path != gallery / ".env":
            assert DATABASE_PASSWORD.encode() not in path.read_bytes(), path


def test_what_goes_wrong_beside_the_set_does_not_keep_it_from_being_published(world: World, gallery: Path) -> None:
    """The uploads' disk is not mounted, and the git server is down."""
    (gallery / "uploads").rename(gallery / "elsewhere")
    (gallery / "uploads").mkdir()
    shutil.move(gallery / "remote.git", gallery / "down.git")
    run = world.airflow.trigger(DAILY)

    assert world.airflow.wait(DAILY, run) == "failed"

    tasks = world.airflow.tasks(DAILY, run)
    assert {name for name, task in tasks.items() if task["state"] == "failed"} == {"mirror", "notify"}
    assert tasks["mirror"]["try_number"] == 1, "nobody mounts a disk in half a minute"
    assert (tasks["config_git"]["state"], tasks["config_git"]["try_number"]) == ("success", 3)
    published = world.airflow.xcom(DAILY, run, "publish")
    assert (gallery / "repository" / published["set"] / "manifest.json").exists()
    assert len(list((gallery / "mirror").glob("[0-9]*"))) == 20
    told = world.told()
    assert "gallery 백업 실패" in told
    assert "is empty, as one is whose disk is not mounted" in told
    assert "git에 커밋되지 않았습니다" in told

    (gallery / "uploads").rmdir()
    (gallery / "elsewhere").rename(gallery / "uploads")
    world.airflow.clear(DAILY, run, ["mirror"])
    assert world.airflow.wait(DAILY, run) == "success"
