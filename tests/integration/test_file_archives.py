"""Archives of real trees: what GNU tar wrote comes back with plain tar, incrementals on their full archive."""

import base64
import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core import stages
from spoqplus_backup.core.errors import DiskFullError, PermanentError
from spoqplus_backup.core.files.archive import Child, archive
from spoqplus_backup.core.files.snapshots import folder
from spoqplus_backup.core.manifest import Component, Manifest
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.process import ProcessError
from spoqplus_backup.core.publish import publish
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.run import BackupRun
from support.backups import Site, make_site
from support.servers import empty
from support.trees import described, differences, nasty_tree, unpack_by_hand

pytestmark = pytest.mark.integration

MIB = 1 << 20


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tmp_path / "www/uploads"


@pytest.fixture
def site(mariadb_server: SandboxServer, tmp_path: Path, tree: Path) -> Site:
    empty(mariadb_server)
    mariadb_server.connect().cursor().execute("CREATE DATABASE spoqplus")
    tree.parent.mkdir()
    return make_site(tmp_path / "site", mariadb_server, files=[{"name": "uploads", "paths": [str(tree)]}])


def change(site: Site, **fields: Any) -> None:
    """Configure the component otherwise."""
    selection = site.settings.files[0].model_copy(update=fields)
    site.settings.__dict__["files"] = (selection,)


def archived(site: Site, cadence: str = "weekly") -> tuple[BackupRun, Component]:
    """A published set of uploads and accounts."""
    run = site.start(cadence, components=("accounts", "uploads"))
    for component in run.staging.components():
        site.component(run, component)
    stages.verify(run)
    publish(run)
    return run, manifest(site, run.name).component("uploads")


def manifest(site: Site, name: str) -> Manifest:
    (repository,) = open_repositories(site.settings, site.connections)
    return Catalog(repository, site.settings.signing.public_key_files).resolve(name)


def stored(site: Site, run: BackupRun) -> Path:
    return site.settings.staging.directory.parent / "repository" / run.name / "uploads"


def unpack(site: Site, target: Path, *runs: BackupRun) -> Path:
    """Restore sets by hand, in order; the folder that the tree is in then."""
    (identity,) = site.settings.encryption.identity_files
    for run in runs:
        unpack_by_hand(stored(site, run), identity, target)
    return target / str(site.settings.files[0].paths[0]).lstrip("/")


def index_of(site: Site, run: BackupRun) -> list[dict[str, Any]]:
    (identity,) = site.settings.encryption.identity_files
    script = 'age -d -i "$1" "$2" | zstd -dq'
    out = subprocess.run(
        ["bash", "-c", script, "index", identity, stored(site, run) / "index.jsonl.zst.age"],
        check=True,
        capture_output=True,
    ).stdout
    return [json.loads(line) for line in out.splitlines()]


def name_of(line: dict[str, Any], field: str = "path") -> bytes:
    return line[field].encode() if field in line else base64.b64decode(line[f"{field}_base64"])


def at_the_first_byte(monkeypatch: pytest.MonkeyPatch, act: Callable[[Child], object]) -> None:
    """Do something when tar has looked at every folder and writes its first file, at which the full pipe holds it."""
    real, done = Child.readinto, []

    def readinto(self: Child, buffer: memoryview, stall_seconds: float | None = None) -> int:
        if not done and b"--create" in Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0"):
            done.append(self.wait_for_output(60))
            act(self)
        return real(self, buffer, stall_seconds)

    monkeypatch.setattr(Child, "readinto", readinto)


def test_a_nasty_tree_comes_back_by_hand(site: Site, tree: Path, tmp_path: Path) -> None:
    nasty_tree(tree)
    (tree / "left out.tmp").touch()
    before = described(tree)
    (tree / "빈 폴더/cache").mkdir()
    os.utime(tree / "빈 폴더", ns=(0, before["빈 폴더".encode()]["modified"]))
    change(site, exclude=("*.tmp", f"{tree}/빈 폴더/cache"))

    run, component = archived(site)

    after = described(unpack(site, tmp_path / "target", run))
    del before[b"left out.tmp"]
    assert differences(before, after) == []
    assert (component.kind, component.content, component.level, component.base) == ("files", "tar", 0, None)
    assert component.files == sum("content" in facts or "link" in facts for facts in before.values()) + 1, "and a fifo"
    assert manifest(site, run.name).tools["tar"].startswith("GNU tar ")
    assert not manifest(site, run.name).warnings[1:]


def test_each_member_can_be_read_by_its_line_in_the_index(site: Site, tree: Path, tmp_path: Path) -> None:
    nasty_tree(tree)
    (tree / "video").write_bytes(os.urandom(40 * MIB))
    change(site, part_mib=16)

    run, component = archived(site)

    assert len(component.parts) >= 3
    header, *lines = index_of(site, run)
    assert header["paths"] == [str(tree)]
    assert {name_of(line) for line in lines} == {
        os.fsencode(tree)[1:] + (b"" if name == b"." else b"/" + name) for name in described(tree)
    }
    sizes = [part.raw_bytes for part in component.parts]
    (identity,) = site.settings.encryption.identity_files
    raw = b"".join(
        subprocess.run(
            ["bash", "-c", 'age -d -i "$1" "$2" | zstd -dq', "part", identity, stored(site, run) / part.name],
            check=True,
            capture_output=True,
        ).stdout
        for part in component.parts
    )
    facts = described(tree)
    for line in lines:
        start = sum(sizes[: line["part"] - 1]) + line["offset"]
        alone = raw[start : start + line["length"]] + bytes(1024)
        with tarfile.open(fileobj=io.BytesIO(alone)) as tar:
            (member,) = tar.getmembers()
        assert os.fsencode(member.name) == name_of(line)
        fact = facts[os.fsencode(Path("/", os.fsdecode(name_of(line))).relative_to(tree))]
        assert line["type"] == "hardlink" or line["sha256"] == fact.get("content")
        assert line["type"] == "hardlink" or line["size"] == fact.get("size", 0)
        assert (line["uid"], line["gid"]) == fact["owner"]
        assert line["mtime"] == pytest.approx(fact["modified"] / 1e9)
        if line["type"] == "symlink":
            assert name_of(line, "link") == fact["link"]


def test_each_daily_archive_stands_on_the_weekly_one(site: Site, tree: Path, tmp_path: Path) -> None:
    nasty_tree(tree)
    (tree / "kept").mkdir()
    (tree / "kept/unchanged").write_bytes(os.urandom(5 * MIB))
    weekly, full = archived(site)
    for number in (1, 2):
        # deleted, renamed, replaced by another kind, changed, and only touched in its mode
        (tree / f"new {number}").write_text("new")
        if number == 1:
            (tree / "회원 사진.jpg").unlink()
            (tree / "빈 폴더").rename(tree / "renamed")
            (tree / "*").unlink()
            (tree / "*").mkdir()
            (tree / "large").open("ab").write(b"more")
        else:
            (tree / "empty").chmod(0o600)
            (tree / "renamed/hard link").unlink()
            (tree / "to a folder").unlink()
            (tree / "to a folder").mkdir()
            (tree / "kept").rename(tree / "moved")
        before = described(tree)

        daily, component = archived(site, "daily")

        assert (component.level, component.base) == (1, weekly.name)
        assert manifest(site, daily.name).depends_on == (weekly.name,)
        assert component.raw_bytes < full.raw_bytes, "what did not change is not in it"
        after = described(unpack(site, tmp_path / f"target {number}", weekly, daily))
        assert differences(before, after) == []


def test_a_daily_archive_without_a_base_is_full_says_why_and_is_a_base(site: Site, tree: Path) -> None:
    tree.mkdir()
    (tree / "a").write_text("a")
    first, component = archived(site, "daily")
    assert component.level == 0
    assert "uploads: this archive is full and not incremental: there is no full archive of it yet." in (
        manifest(site, first.name).warnings
    )
    _, component = archived(site, "daily")
    assert (component.level, component.base) == (1, first.name)


def test_a_base_that_a_repository_lost_is_none(site: Site, tree: Path) -> None:
    tree.mkdir()
    weekly, _ = archived(site)
    (stored(site, weekly).parent / "manifest.json").unlink()
    daily, component = archived(site, "daily")
    assert component.level == 0
    assert f"the repository local no longer has {weekly.name}" in " ".join(manifest(site, daily.name).warnings)


def test_a_base_of_other_paths_or_too_old_is_none(site: Site, tree: Path) -> None:
    tree.mkdir()
    weekly, _ = archived(site)
    change(site, exclude=("*.bak",))
    daily, component = archived(site, "daily")
    assert component.level == 0
    assert f"no longer those of {weekly.name}" in " ".join(manifest(site, daily.name).warnings)

    for note in folder(site.settings, "uploads").glob("*.json"):
        content = json.loads(note.read_text())
        moved = datetime.fromisoformat(content["started_at"].replace("Z", "+00:00")) - timedelta(days=9)
        note.write_text(json.dumps(content | {"started_at": moved.isoformat()}))
    daily, component = archived(site, "daily")
    assert component.level == 0
    assert "9 days old, older than base_days (8)" in " ".join(manifest(site, daily.name).warnings)


def test_only_weekly_and_daily_full_archives_are_bases_and_the_newest_are_kept(site: Site, tree: Path) -> None:
    tree.mkdir()
    runs = [archived(site)[0] for _ in range(5)]
    monthly, component = archived(site, "monthly")
    assert component.level == 0
    kept = folder(site.settings, "uploads")
    assert sorted(path.name for path in kept.glob("*.snar")) == [
        f"{run.cadence}_{run.set_id}.snar" for run in runs[-3:]
    ]
    assert {oct(path.stat().st_mode & 0o777) for path in kept.glob("*.snar")} == {"0o600"}
    assert archived(site, "daily")[1].base == runs[-1].name


def test_a_site_may_have_its_daily_archives_full(site: Site, tree: Path) -> None:
    tree.mkdir()
    archived(site)
    change(site, level="full")
    run, component = archived(site, "daily")
    assert component.level == 0
    assert "incremental" not in " ".join(manifest(site, run.name).warnings)


def test_single_files_are_never_archived_incrementally(site: Site, tree: Path) -> None:
    tree.mkdir()
    (tree / ".env").write_text("DB_PASSWORD=1")
    change(site, paths=(tree / ".env",))
    archived(site)
    _, component = archived(site, "daily")
    assert (component.level, component.files) == (0, 1)


def test_files_that_change_or_vanish_while_they_are_read_are_reported(
    site: Site, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.mkdir()
    (tree / "a first").write_bytes(os.urandom(8 * MIB))
    for name in ("grows", "shrinks", "vanishes"):
        (tree / name).write_bytes(os.urandom(MIB))

    def meddle(_: Child) -> None:
        (tree / "a first").open("ab").write(b"more")
        (tree / "vanishes").unlink()

    at_the_first_byte(monkeypatch, meddle)
    run, component = archived(site)

    warnings = " ".join(manifest(site, run.name).warnings)
    assert "uploads: 1 files vanished before they were read: " in warnings
    assert f"{str(tree)[1:]}/vanishes" in warnings
    assert f"changed while they were read: {str(tree)[1:]}" in warnings
    restored = unpack(site, tmp_path / "target", run)
    assert (restored / "grows").read_bytes() == (tree / "grows").read_bytes()
    assert not (restored / "vanishes").exists()


def test_a_killed_tar_fails_and_a_retry_archives_anew(
    site: Site, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.mkdir()
    (tree / "a").write_bytes(os.urandom(8 * MIB))
    run = site.start("weekly", components=("uploads",))
    with monkeypatch.context() as patched:
        at_the_first_byte(patched, lambda child: os.kill(child.pid, signal.SIGKILL))
        with pytest.raises(ProcessError, match="tar was killed by signal SIGKILL"):
            archive(run, "uploads", 1)
    with pytest.raises(PermanentError, match=r"The component uploads .* was not made: clear uploads\.archive"):
        stages.compress(run, "uploads")

    first = archive(run, "uploads", 1)
    (tree / "b").write_text("later")
    assert archive(run, "uploads", 1) == first, "a retry of what is finished does nothing"
    assert archive(run, "uploads", 2).detail["files"] == 2, "a cleared task archives anew"
    (run.staging.component("uploads") / "raw/000001.tar").unlink()
    with pytest.raises(PermanentError, match=r"Clear the task uploads\.archive"):
        stages.compress(run, "uploads")


def fake_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    real = subprocess.run(["bash", "-c", "type -P tar"], check=True, capture_output=True, text=True).stdout.strip()
    program = tmp_path / "bin/tar"
    program.parent.mkdir()
    program.write_text(f'#!/bin/bash\nREAL={real}\n[ "$1" = --version ] && exec $REAL --version\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("exec sleep 600", ProcessError, "gave no byte for 1 s"),
        ('$REAL "$@" | head -c 10000; exit 0', PermanentError, "truncated"),
        ('$REAL "$@"; echo "tar: a: Cannot open: Input/output error" >&2; exit 2', ProcessError, "Input/output error"),
        (
            '$REAL "$@"; echo "tar: a: Cannot open: Permission denied" >&2; exit 2',
            PermanentError,
            "may not read everything .*a: Cannot open: Permission denied.*exclude",
        ),
        ('$REAL "$@"; exit 1', None, ""),
    ],
    ids=["stalled", "truncated", "failed", "denied", "control: files changed"],
)
def test_an_archive_that_is_not_whole_fails(
    script: str, error: type[Exception] | None, words: str, site: Site, tree: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    tree.mkdir()
    (tree / "a").write_bytes(os.urandom(MIB))
    change(site, stall_seconds=1)
    run = site.start("weekly", components=("uploads",))
    fake_tar(tmp_path, monkeypatch, script)
    if error is None:
        assert archive(run, "uploads", 1).detail["files"] == 1
        return
    with pytest.raises(error, match=words):
        archive(run, "uploads", 1)
    assert not (run.staging.component("uploads") / "component.json").exists()


def test_a_full_disk(site: Site, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.mkdir()

    class OnAFullDisk:
        number = 1

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def write(self, _: bytes) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("spoqplus_backup.core.files.archive.PartWriter", OnAFullDisk)
    run = site.start("weekly", components=("uploads",))
    with pytest.raises(DiskFullError, match="No space left"):
        archive(run, "uploads", 1)


def test_a_tree_without_files_is_suspicious(site: Site, tree: Path) -> None:
    (tree / "folder").mkdir(parents=True)
    run, component = archived(site)
    assert component.files == 0
    assert f"uploads: {tree} holds no file: is its volume mounted?" in manifest(site, run.name).warnings


def test_a_linked_folder_is_archived_with_its_place(site: Site, tree: Path, tmp_path: Path) -> None:
    shared = tree.parent / "shared"
    shared.mkdir()
    (shared / "a").write_text("a")
    tree.symlink_to(shared)
    run, _ = archived(site)
    restored = unpack(site, tmp_path / "target", run)
    assert restored.readlink() == shared
    assert (restored.parent / "shared/a").read_text() == "a"


def test_preflight_names_a_missing_path_and_its_setting(site: Site, tree: Path) -> None:
    with pytest.raises(PermanentError, match=r"`files\[0\]\.paths`: .*uploads is not there: correct the path, mount"):
        site.start("daily")
    assert site.start("daily", components=("accounts",)), "who does not back them up does not need them"


def test_preflight_counts_the_files(site: Site, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.mkdir()
    (tree / "a").write_bytes(bytes(50 * MIB))
    monkeypatch.setattr("spoqplus_backup.core.reservation.free_bytes", lambda _: 40 * MIB)
    with pytest.raises(PermanentError, match=r"40\.0 MiB free but the backup may take [567]\d\.\d MiB"):
        site.start("weekly")
    assert site.start("weekly", components=("accounts",))


@pytest.mark.timeout(180)
def test_a_sparse_file_of_two_gigabytes(site: Site, tree: Path, tmp_path: Path) -> None:
    tree.mkdir()
    with (tree / "disk.img").open("wb") as file:
        file.truncate(2 << 30)
        file.seek(1 << 30)
        file.write(b"in the middle")
    run, component = archived(site)
    assert component.raw_bytes < MIB
    (line,) = [line for line in index_of(site, run) if line.get("type") == "file"]
    with (tree / "disk.img").open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(MIB):
            digest.update(block)
    assert (line["size"], line["sha256"]) == (2 << 30, digest.hexdigest())
    restored = unpack(site, tmp_path / "target", run) / "disk.img"
    assert restored.stat().st_size == 2 << 30
    assert restored.stat().st_blocks * 512 < MIB, "the holes are holes again"
    with restored.open("rb") as file:
        file.seek(1 << 30)
        assert file.read(16) == b"in the middle\0\0\0"


@pytest.fixture
def many_files(tree: Path) -> int:
    count = 0
    for number in range(100):
        (tree / f"{number}").mkdir(parents=True)
        for _ in range(100):
            (tree / f"{number}/{count}").write_bytes(b"%d" % count * 20)
            count += 1
    return count


def test_ten_thousand_small_files(site: Site, tree: Path, many_files: int, tmp_path: Path) -> None:
    weekly, component = archived(site)
    (tree / "50/5000").write_text("changed")
    (tree / "51/5100").unlink()
    daily, changed = archived(site, "daily")
    assert component.files == many_files
    assert len(index_of(site, weekly)) == 1 + many_files + 101
    assert changed.files == 1
    restored = unpack(site, tmp_path / "target", weekly, daily)
    assert (restored / "50/5000").read_text() == "changed"
    assert sum(len(files) for _, _, files in os.walk(restored)) == many_files - 1
