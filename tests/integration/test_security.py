"""What a thief of a backup host's disk, or of a bucket's contents, learns: docs/security.md says nothing else."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from spoqplus_backup.core.errors import IntegrityError, WrongKeyError
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.settings import load_settings
from support.backups import Site, make_site
from support.keys import signing_pair
from support.servers import empty, rows

pytestmark = pytest.mark.integration

ROW, FILE_NAME, FILE, FACE, VARIABLE = (
    f"{word}-{os.urandom(8).hex()}" for word in ("row", "name", "file", "face", "env")
)


@pytest.fixture
def site(mariadb_server: SandboxServer, mariadb_target: SandboxServer, tmp_path: Path) -> Site:
    for server in (mariadb_server, mariadb_target):
        empty(server)
    rows(mariadb_server.connect(), "CREATE DATABASE spoqplus")
    rows(mariadb_server.connect(), "CREATE TABLE spoqplus.members (id INT PRIMARY KEY, name VARCHAR(80))")
    rows(mariadb_server.connect(), f"INSERT INTO spoqplus.members VALUES (1, '{ROW}')")
    html = tmp_path / "html"
    for name, content in {
        f"uploads/{FILE_NAME}": FILE,
        f"faces/{FILE_NAME}.jpg": FACE,
        ".env": f"DB_X={VARIABLE}\n",
    }.items():
        (html / name).parent.mkdir(parents=True, exist_ok=True)
        (html / name).write_text(content)
    made = make_site(
        tmp_path / "site",
        mariadb_server,
        mariadb_target,
        files=[{"name": "uploads", "paths": [str(html / "uploads")]}],
        faces={"directory": str(html / "faces")},
        environment={"files": [str(html / ".env")]},
        restore={"files_root": str(tmp_path / "restored"), "ownership": {}},
    )
    made.back_up("weekly")
    rows(mariadb_server.connect(), f"UPDATE spoqplus.members SET name = '{ROW}+'")
    made.archive()
    return made


def test_whoever_has_all_stored_bytes_reads_no_content_and_no_name(site: Site) -> None:
    repository = Path(site.settings.repositories[0].root.removeprefix("file://"))
    files = [path for path in repository.rglob("*") if path.is_file()]
    assert len(files) > 15
    found = [(str(path.relative_to(repository)).encode(), path.read_bytes()) for path in files]
    found += [
        (name, _unpacked(content)) for name, content in found if name.endswith(b".zst")
    ]  # lists are not encrypted
    for secret in (ROW, FILE_NAME, FILE, FACE, VARIABLE):
        assert [name for name, content in found if secret.encode() in name + content] == []


def _unpacked(content: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(content)


def _changed(site: Site, change: Callable[[dict[str, Any]], object]) -> Site:
    """The same site with another configuration."""
    fields = yaml.safe_load(site.settings.source.read_text())
    change(fields)
    site.settings.source.write_text(yaml.safe_dump(fields))
    return Site(load_settings(site.settings.source), site.connections, site.runs)


def test_a_backup_host_can_not_read_what_it_wrote(site: Site) -> None:
    """It has everything but the private keys, and keeps nothing readable of what was published."""
    host = _changed(site, lambda fields: fields["encryption"].update(identity_files=[]))
    for components in (["database"], ["uploads"], ["face_images"], ["environment"]):
        with pytest.raises(WrongKeyError, match="There is no key to open"):
            host.restore(components=components)
    staged = [path for path in host.settings.staging.directory.rglob("*") if path.is_file()]
    secrets = [secret.encode() for secret in (ROW, FILE, FACE, VARIABLE)]
    assert [path for path in staged if any(secret in path.read_bytes() for secret in secrets)] == []


def test_a_stolen_signing_key_signs_nothing_any_more_once_its_public_half_is_gone(site: Site) -> None:
    """Docs: take it out of `signing.public_key_files`, and nothing that it signs is believed."""
    new = signing_pair(site.settings.source.parent, "new")
    keys = {"private_key_file": str(new.private), "public_key_files": [str(new.public)]}
    host = _changed(site, lambda fields: fields.update(signing=keys))
    with pytest.raises(IntegrityError, match="is not signed by any key"):
        host.plan(components=["database"])
    host.back_up("weekly")
    host.restore(components=["database"])
