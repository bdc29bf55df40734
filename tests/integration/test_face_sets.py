"""Face images and the environment as parts of published sets, and what stands beside them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.cli import main
from spoqplus_backup.core import stages
from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.files.face_check import needed_objects, shared_checksums, shared_problems
from spoqplus_backup.core.files.face_store import faces_folder
from spoqplus_backup.core.files.faces import sync_faces
from spoqplus_backup.core.files.guard import GuardError
from spoqplus_backup.core.manifest import Manifest
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.notice import notice
from spoqplus_backup.core.publish import publish
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.run import BackupRun
from spoqplus_backup.core.schemes import stored_scheme
from support import servers
from support.backups import Site, make_site
from support.keys import gpg_pair

pytestmark = pytest.mark.integration


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "face_images"
    for number in range(30):
        (folder / f"{number % 4}").mkdir(parents=True, exist_ok=True)
        (folder / f"{number % 4}" / f"{number}.jpg").write_bytes(f"face {number}".encode() * 100)
    return folder


@pytest.fixture
def fields(tmp_path: Path, images: Path) -> dict[str, Any]:
    (tmp_path / ".env").write_text("DB_HOST=db.example\n")
    return {"faces": {"directory": str(images)}, "environment": {"files": [str(tmp_path / ".env")]}}


@pytest.fixture
def site(tmp_path: Path, mariadb_server: SandboxServer, fields: dict[str, Any]) -> Site:
    servers.empty(mariadb_server)
    with mariadb_server.connect().cursor() as cursor:
        cursor.execute("CREATE DATABASE spoqplus")
        cursor.execute("CREATE TABLE spoqplus.members (id INT PRIMARY KEY)")
    return make_site(tmp_path / "site", mariadb_server, **fields)


def manifest_of(site: Site, name: str) -> Manifest:
    repository = open_repositories(site.settings, site.connections)[0]
    return Catalog(repository, site.settings.signing.public_key_files).resolve(name)


def test_a_set_names_its_objects_for_who_can_t_read_its_index(site: Site, images: Path) -> None:
    published = site.back_up()
    (repository,) = open_repositories(site.settings, site.connections)
    manifest = manifest_of(site, published.set)
    component = manifest.component("face_images")
    (told,) = [item for item in published.components if item.name == "face_images"]
    assert told.raw_bytes == sum(path.stat().st_size for path in images.rglob("*.jpg"))

    assert (component.kind, component.content, component.files) == ("files", "objects", 30)
    assert [part.name for part in component.lists] == ["objects.txt.zst", "objects.sha256.zst"]
    assert component.parts == ()
    assert component.index.name == "index.jsonl.zst.age"
    assert component.shared is not None
    keys = list(needed_objects(repository, manifest))
    assert keys == sorted(repository.list("faces/"))
    assert len(keys) == component.shared.count == 30
    assert component.shared.stored_bytes == sum(size for _, size in repository.sizes("faces/"))
    assert [key for key, _ in shared_checksums(repository, manifest)] == keys
    assert list(shared_problems(repository, manifest)) == []
    # by hand
    root = site.settings.repositories[0].root.removeprefix("file://")
    command = f"zstd -dc {published.set}/face_images/objects.sha256.zst | sha256sum --check --quiet --strict"
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=root, check=True)


def test_a_list_that_was_tampered_with_frees_no_object(site: Site) -> None:
    published = site.back_up()
    (repository,) = open_repositories(site.settings, site.connections)
    manifest = manifest_of(site, published.set)
    path = Path(
        site.settings.repositories[0].root.removeprefix("file://"), published.set, "face_images/objects.txt.zst"
    )
    shorter = subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout.splitlines(keepends=True)[
        :-1
    ]
    path.write_bytes(subprocess.run(["zstd", "-c"], input=b"".join(shorter), check=True, capture_output=True).stdout)
    with pytest.raises(IntegrityError):
        list(needed_objects(repository, manifest))


def test_the_newest_set_s_count_guards_a_host_that_forgot_everything(site: Site, images: Path) -> None:
    site.back_up()
    shutil.rmtree(faces_folder(site.settings))
    for number in range(4):
        (images / "0" / f"{number * 4}.jpg").unlink()
    run = site.start()
    with pytest.raises(GuardError, match=r"4 of 30 files are gone"):
        sync_faces(run, 1)


def test_verify_on_the_command_line_looks_at_every_object(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    published = site.back_up()
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(site.settings.source))
    assert main(["verify", published.set]) == 0
    capsys.readouterr()
    root = Path(site.settings.repositories[0].root.removeprefix("file://"))
    first, second, *_ = sorted((root / "faces").rglob("*.age"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1] + b"x")
    assert main(["verify", published.set]) == 1
    told = capsys.readouterr().out
    assert f"{first.relative_to(root)} is not there" in told
    assert f"{second.relative_to(root)} has the SHA-256" in told


def test_a_published_set_is_left_alone_by_tasks_that_run_again(site: Site) -> None:
    run = site.start()
    for component in run.staging.components():
        site.component(run, component)
    stages.verify(run)
    warned = [notice("preflight.long_query", "The query of connection {number} has run for long.", number=7)]
    published = publish(run, warned)
    assert [item.code for item in published.warnings] == ["preflight.long_query"]
    assert manifest_of(site, run.name).warnings == ("The query of connection 7 has run for long.",)
    assert publish(run, warned) == published
    assert sync_faces(run, 2).detail == {"published": True}
    assert stages.verify(run).parts > 30


def test_an_environment_that_gpg_encrypts_says_so_in_the_manifest(
    site: Site, tmp_path: Path, mariadb_server: SandboxServer, fields: dict[str, Any]
) -> None:
    with gpg_pair(tmp_path / "gpg", "backup@spoqplus.com") as pair:
        fields["environment"] |= {
            "gpg_recipient": pair.recipient,
            "gpg_public_key_file": str(pair.public),
            "gpg_private_key_file": str(pair.private),
        }
        site = make_site(tmp_path / "other", mariadb_server, **fields)
        manifest = manifest_of(site, site.back_up().set)
        component = manifest.component("environment")
        assert component.encryption is not None
        assert (component.encryption.scheme, component.encryption.recipients) == ("gpg", ("backup@spoqplus.com",))
        assert manifest.component("face_images").encryption is None
        root = Path(site.settings.repositories[0].root.removeprefix("file://"))
        scheme = stored_scheme(site.settings, site.connections, manifest, component)
        with scheme.decrypting(root / manifest.name / "environment" / component.parts[0].name) as plain:
            packed = plain.readall()
    assert subprocess.run(["zstd", "-dc"], input=packed, check=True, capture_output=True).stdout.endswith(
        b"\nDB_HOST=db.example\n"
    )


def refused(site: Site) -> str:
    with pytest.raises(PermanentError) as caught:
        site.start()
    return str(caught.value)


def test_preflight_says_what_the_files_lack_before_anything_is_dumped(site: Site, images: Path, tmp_path: Path) -> None:
    shutil.rmtree(images)
    (tmp_path / ".env").unlink()
    words = refused(site)
    assert f"The folder {images} can't be read" in words
    assert f"{tmp_path}/.env can't be read" in words


def test_preflight_only_warns_of_what_stands_beside_the_set(
    tmp_path: Path, mariadb_server: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    beside = {
        "mirror": {"source": str(tmp_path / "nothing"), "target": str(tmp_path / "mirror")},
        "config_git": {"remote": "git@example.com:config.git", "ssh_key_file": "nothing.key"},
    }
    run: BackupRun = make_site(tmp_path / "site", mariadb_server, **beside).start()
    assert run.staging.components() == ("database", "accounts")
    assert f"The folder {tmp_path}/nothing can't be read" in caplog.text
    assert "`config_git.ssh_key_file`" in caplog.text
