"""All that a backup holds comes back into an empty root, made and restored by the chains that the DAGs run."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.cli import main
from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.recovery import restore as recovery
from spoqplus_backup.core.recovery.files import steps
from spoqplus_backup.core.recovery.plan import RestorePlan
from support import servers
from support.backups import Site, make_site
from support.keys import GpgPair, gpg_pair

pytestmark = pytest.mark.integration

EVERYTHING = ["database", "accounts", "face_images", "uploads", "logs", "config", "environment"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What lies on the web server."""
    html = tmp_path / "html"
    for name, content in {
        "public/uploads/2026/사진.jpg": "picture",
        "public/uploads/deleted": "deleted later",
        "public/uploads/big": "0123456789" * 20_000,
        "writable/logs/log-2026-01-01.log": "line\n" * 1000,
        "app/Config/App.php": "<?php",
        ".env": "DB_PASSWORD='se cret'\nAPP_NAME=SPOQ\nOTHER=no\n",
        "face_images/1/a.jpg": "face a",
        "face_images/1/same.jpg": "face a",
        "face_images/2/b.jpg": "face b",
    }.items():
        (html / name).parent.mkdir(parents=True, exist_ok=True)
        (html / name).write_text(content)
    (html / "public/uploads/hard").hardlink_to(html / "public/uploads/big")
    (html / "face_images/empty").mkdir()
    (html / "face_images/newest.jpg").symlink_to("2/b.jpg")
    (html / "face_images/2/b.jpg").chmod(0o600)
    os.setxattr(html / "face_images/2/b.jpg", "user.camera", b"front\0door")
    subprocess.run(["setfacl", "-m", "u:33:r,g:34:rw", html / "face_images/1/a.jpg"], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:33:rx", html / "face_images/empty"], check=True)
    return html


@pytest.fixture
def key(tmp_path: Path) -> Iterator[GpgPair]:
    with gpg_pair(tmp_path / "gpg", "backup@spoqplus.com") as pair:
        yield pair


@pytest.fixture
def site(
    tmp_path: Path, mariadb_server: SandboxServer, mariadb_target: SandboxServer, source: Path, key: GpgPair
) -> Site:
    for server in (mariadb_server, mariadb_target):
        servers.empty(server)
    with mariadb_server.connect().cursor() as cursor:
        cursor.execute("CREATE DATABASE spoqplus")
        cursor.execute("CREATE TABLE spoqplus.members (id INT PRIMARY KEY)")
        cursor.execute("INSERT INTO spoqplus.members VALUES (1), (2)")
    return make_site(
        tmp_path / "site",
        mariadb_server,
        mariadb_target,
        files=[
            {"name": "uploads", "paths": [str(source / "public/uploads")]},
            {"name": "logs", "paths": [str(source / "writable/logs")]},
            {"name": "config", "paths": [str(source / ".env"), str(source / "app/Config")], "level": "full"},
        ],
        faces={"directory": str(source / "face_images"), "maximum_deletions": 1},
        environment={
            "files": [str(source / ".env")],
            "gpg_recipient": key.recipient,
            "gpg_public_key_file": str(key.public),
            "gpg_private_key_file": str(key.private),
        },
        restore={"files_root": str(tmp_path / "restored"), "ownership": {}},
    )


def restore(site: Site, **params: Any) -> RestorePlan:
    plan = site.plan(**params)
    recovery.fetch(site.settings, site.connections, plan)
    if plan.has_database:
        recovery.load_set(site.settings, site.connections, plan, 1)
    unpacked = steps.restore_files(site.settings, site.connections, plan, 1)
    assert unpacked.detail["order"] == " → ".join(planned.name for planned in plan.files)
    steps.set_ownership(site.settings, plan)
    recovery.verify_restored(site.settings, site.connections, plan)
    return plan


def tree(top: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in (top, *top.rglob("*")):
        status = path.lstat()
        about = (oct(status.st_mode), status.st_uid, status.st_gid, round(status.st_mtime, 3))
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in sorted(attributes_of(path))}
        found[str(path.relative_to(top))] = (*about, content, attributes)
    return found


def attributes_of(path: Path) -> list[str]:
    """Of access lists and users; a kernel may show others of its own."""
    names = os.listxattr(path, follow_symlinks=False)
    return [name for name in names if name.startswith(("user.", "system.posix_acl_"))]


def test_everything_into_an_empty_root(site: Site, source: Path, tmp_path: Path, mariadb_target: SandboxServer) -> None:
    site.back_up("weekly")
    (source / "public/uploads/deleted").unlink()
    (source / "public/uploads/new").write_text("new")
    (source / "writable/logs/log-2026-01-01.log").open("a").write("one more\n")
    (source / "face_images/2/b.jpg").write_text("face b, changed")
    (source / "face_images/1/a.jpg").unlink()
    daily = site.back_up()
    plan = restore(site, components=EVERYTHING, backup=daily.set)

    restored = tmp_path / "restored"
    for place in ("public/uploads", "writable/logs", "app/Config", "face_images", ".env"):
        assert tree(restored / str(source / place).lstrip("/")) == tree(source / place), place
    assert (restored / "spoqplus-environment.env").read_text().splitlines()[1:] == [
        "APP_NAME=SPOQ",
        "DB_PASSWORD='se cret'",
    ]
    assert (restored / "spoqplus-environment.env").stat().st_mode & 0o777 == 0o600
    assert servers.rows(mariadb_target.connect(), "SELECT COUNT(*) FROM spoqplus.members") == [(2,)]
    # in the strategy's order, and only what changed on top of the weekly backup
    assert list(plan.component_names) == [
        "database",
        "accounts",
        "face_images",
        "uploads",
        "config",
        "environment",
        "logs",
    ]
    by_name = {planned.name: [archive.level for archive in planned.archives] for planned in plan.files}
    assert by_name == {"face_images": [0], "uploads": [0, 1], "config": [0], "environment": [0], "logs": [0, 1]}


def test_an_earlier_day_still_has_the_faces_that_were_deleted_since(site: Site, source: Path, tmp_path: Path) -> None:
    first = site.back_up("weekly")
    before = tree(source / "face_images")
    shutil.rmtree(source / "face_images/1")
    site.back_up("weekly")
    restore(site, components=["face_images"], backup=first.set)
    assert tree(tmp_path / "restored" / str(source / "face_images").lstrip("/")) == before


def test_chosen_faces(site: Site, source: Path, tmp_path: Path) -> None:
    site.back_up("weekly")
    plan = restore(site, components=["face_images"], paths=["face_images/1", "newest.jpg"], backup="latest")
    top = tmp_path / "restored" / str(source / "face_images").lstrip("/")
    found = {str(path.relative_to(top)) for path in top.rglob("*")}
    assert found == {"1", "1/a.jpg", "1/same.jpg", "newest.jpg"}
    assert plan.files[0].files == 3
    one_object = plan.files[0].fetch_bytes
    assert one_object < restore(site, components=["face_images"]).files[0].fetch_bytes


def test_an_object_that_is_gone_or_another_one_is_refused(site: Site, source: Path, tmp_path: Path) -> None:
    site.back_up("weekly")
    repository = Path(site.settings.repositories[0].root.removeprefix("file://"))
    first, second = sorted((repository / "faces").rglob("*.age"))
    content = second.read_bytes()
    second.unlink()
    second.write_bytes(first.read_bytes())
    with pytest.raises(IntegrityError, match="faces/"):
        restore(site, components=["face_images"])
    second.unlink()
    with pytest.raises(IntegrityError, match=f"{second.name} is not there"):
        restore(site, components=["face_images"])
    assert not (tmp_path / "restored").exists()
    second.write_bytes(content)
    restore(site, components=["face_images"])


def test_the_environment_never_goes_to_the_machine_s_root(site: Site, tmp_path: Path) -> None:
    site.back_up("weekly")
    plan = site.plan(environment="production", components=["environment"])
    assert plan.files[0].root == str(tmp_path / "restored")


def test_a_component_that_the_set_does_not_have(site: Site) -> None:
    site.back_up("weekly")
    site.settings.staging.directory.exists()
    with pytest.raises(PermanentError, match="no logs_of_nobody|none of"):
        site.plan(components=["logs_of_nobody"])


def test_on_the_command_line(
    site: Site, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    weekly = site.back_up("weekly").set
    (source / "public/uploads/deleted").unlink()
    (source / "public/uploads/new").write_text("new")
    servers.next_second()  # the newest set is told by its name
    site.back_up()
    config = ["--config", str(site.settings.source)]

    assert main([*config, "files", "latest", "uploads"]) == 0
    listed = capsys.readouterr().out
    assert f"public/uploads/2026/사진.jpg  ({weekly})" in listed
    assert "uploads/new  (daily/" in listed
    assert "deleted" not in listed
    assert main([*config, "files", "latest", "uploads", "*deleted", "--deleted"]) == 1
    assert capsys.readouterr().out.startswith("deleted ")
    assert main([*config, "files", "latest", "face_images", "2/*"]) == 0
    assert "face_images/2/b.jpg" in capsys.readouterr().out

    options = ["--components", "uploads", "--paths", "uploads/new", "2026/*", "--target-root", str(tmp_path / "there")]
    assert main([*config, "restore", *options, "--dry-run"]) == 0
    assert "2개" in capsys.readouterr().out
    assert not (tmp_path / "there").exists()
    assert main([*config, "restore", *options]) == 0
    top = tmp_path / "there" / str(source / "public/uploads").lstrip("/")
    assert {path.name for path in top.rglob("*") if path.is_file()} == {"new", "사진.jpg"}
    assert main([*config, "restore", "--components", "uploads", "--paths", "deleted"]) == 1
    assert "deleted before this backup was made" in capsys.readouterr().err
