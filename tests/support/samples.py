"""Kept repositories of every format that this project ever wrote: how they are made, and a site that reads one.

tests/samples/format-<N>/schema.json           what the format's files may hold
                         <flavour>/repository/  weekly, daily and incremental sets, logs, a report, a hold
                                   keys/        throw-away keys: they open nothing else
                                   expected.json  what a restore of all of it has to bring
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from spoqplus_backup.core.archive.incremental import publish_incremental
from spoqplus_backup.core.files.face_index import FaceEntry, FaceHeader
from spoqplus_backup.core.files.index import IndexHeader
from spoqplus_backup.core.manifest import FORMAT, BinlogSegment, BinlogTables, Flavour, Index, Manifest
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.proof.store import store_proof
from spoqplus_backup.core.repository.holds import hold
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.settings import load_settings
from spoqplus_backup.report_html import report_html
from support import servers
from support.backups import TEST, Site, TestConnections, database_record, make_site
from support.keys import gpg_pair
from support.proofs import proof_of
from support.servers import PROJECT, rows

SAMPLES = PROJECT / "tests" / "samples"
SOURCE = Path("/tmp/spoqplus-sample")  # the archives name it, so it is the same on every machine
GPG_RECIPIENT = "sample@example.com"
FILES: list[dict[str, Any]] = [
    {"name": "uploads", "paths": [str(SOURCE / "uploads")]},
    {"name": "config", "paths": [str(SOURCE / ".env")], "level": "full"},
]
COMPONENTS = ["database", "accounts", "face_images", "uploads", "config", "environment"]
_WORDS = ("title", "description")  # of a schema, which say nothing about what is valid
_STATEMENTS = (
    "CREATE DATABASE spoqplus",
    "CREATE TABLE spoqplus.members (id INT PRIMARY KEY, name VARCHAR(50) CHARACTER SET utf8mb4, photo BLOB)",
    "INSERT INTO spoqplus.members VALUES (1, '김철수 🏸', x'00ff0a0d'), (2, 'O''Brien', NULL)",
    "CREATE TABLE spoqplus.payments (id INT PRIMARY KEY, member_id INT, amount DECIMAL(12, 2))",
    "INSERT INTO spoqplus.payments VALUES (1, 1, 49.90), (2, 2, -10.00)",
    "CREATE VIEW spoqplus.paid AS SELECT member_id, SUM(amount) AS amount FROM spoqplus.payments GROUP BY member_id",
    "CREATE TRIGGER spoqplus.no_blank BEFORE INSERT ON spoqplus.members FOR EACH ROW SET NEW.name = TRIM(NEW.name)",
    "CREATE USER sample_reader@'%' IDENTIFIED BY 'sample'",
    "GRANT SELECT ON spoqplus.* TO sample_reader@'%'",
)
CONTENT = {
    "spoqplus.members": "SELECT id, name, HEX(photo) FROM spoqplus.members ORDER BY id",
    "spoqplus.paid": "SELECT member_id, CAST(amount AS CHAR) FROM spoqplus.paid ORDER BY 1",
}


def schema() -> dict[str, Any]:
    """What files of today's format may hold."""
    models = (Manifest, BinlogSegment, BinlogTables, Index, IndexHeader, FaceHeader, FaceEntry)
    return {model.__name__: _bare(model.model_json_schema()) for model in models}


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items() if key not in _WORDS or isinstance(item, dict)}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def content(server: SandboxServer) -> dict[str, list[list[Any]]]:
    """The rows that a restore has to bring."""
    connection = server.connect()
    return {name: [list(row) for row in rows(connection, statement)] for name, statement in CONTENT.items()}


def tree(top: Path) -> dict[str, str]:
    """Each file below a folder with the SHA-256 of its content."""
    files = (path for path in sorted(top.rglob("*")) if path.is_file())
    return {str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def make_format(target: Path = SAMPLES / f"format-{FORMAT}") -> None:
    """Write the samples of today's format; a format that has some is never written again.

    Raises:
        FileExistsError: it has.
    """
    target.mkdir(parents=True)
    (target / "schema.json").write_text(json.dumps(schema(), indent=1, sort_keys=True) + "\n")
    flavours: tuple[Flavour, ...] = ("mariadb", "mysql")
    for flavour in flavours:
        with tempfile.TemporaryDirectory(prefix="spoq") as work:
            server = servers.start(Path(work, "server"), flavour, tcp=False)
            try:
                _make(target / flavour, Path(work), server)
            finally:
                server.kill()


def _source() -> None:
    shutil.rmtree(SOURCE, ignore_errors=True)
    for name, text in {
        "uploads/2026/사진.txt": "사진 한 장\n",
        "uploads/deleted": "deleted behind the weekly backup\n",
        "uploads/empty/.keep": "",
        "faces/1/a.jpg": "face a",
        "faces/2/b.jpg": "face b",
        ".env": "DB_PASSWORD='sample'\nAPP_NAME=SPOQ\n",
    }.items():
        (SOURCE / name).parent.mkdir(parents=True, exist_ok=True)
        (SOURCE / name).write_text(text)
    (SOURCE / "uploads" / "link").symlink_to("2026")


def _make(target: Path, work: Path, server: SandboxServer) -> None:
    _source()
    servers.run(server, *_STATEMENTS)
    with gpg_pair(work / "gpg", GPG_RECIPIENT) as gpg:
        site = make_site(
            work / "site",
            server,
            files=FILES,
            faces={"directory": str(SOURCE / "faces"), "maximum_deletions": 1},
            environment={
                "files": [str(SOURCE / ".env")],
                "gpg_recipient": gpg.recipient,
                "gpg_public_key_file": str(gpg.public),
            },
        )
        weekly = site.back_up("weekly")
        (SOURCE / "uploads" / "deleted").unlink()
        (SOURCE / "uploads" / "new").write_text("made behind the weekly backup\n")
        servers.run(server, "INSERT INTO spoqplus.members VALUES (3, '박지성', NULL)")
        servers.next_second()
        daily = site.back_up()
        _write_on(site, server)
        repositories = open_repositories(site.settings, site.connections)
        hold(site.settings, repositories, weekly.set, "a sample", "the tests")
        proof = proof_of(site="spoqplus", backup=daily.set)
        store_proof(site.settings, repositories, proof, report_html(proof, [], "ko", "Asia/Seoul"))
        keys = target / "keys"
        keys.mkdir(parents=True)
        for file in (*(work / "site").glob("*.txt"), *(work / "site").glob("signing.pub"), gpg.public, gpg.private):
            shutil.copyfile(file, keys / file.name)
    shutil.copytree(work / "site" / "repository", target / "repository", ignore=shutil.ignore_patterns(".probe"))
    expected = {"daily": daily.set, "weekly": weekly.set, "content": content(server), "files": tree(SOURCE)}
    (target / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def _write_on(site: Site, server: SandboxServer) -> None:
    """An incremental set, and a log that is in none."""
    servers.run(server, "UPDATE spoqplus.members SET name = '김영희' WHERE id = 1")
    site.archive()
    publish_incremental(site.settings, site.connections, "sample/incremental", datetime.now(timezone.utc))
    servers.run(server, "INSERT INTO spoqplus.payments VALUES (3, 3, 12.34)")
    site.archive()


def sample_site(sample: Path, work: Path, target: SandboxServer) -> Site:
    """A site of today's code on a copy of a kept repository, as on a machine that restores."""
    shutil.copytree(sample / "repository", work / "repository")
    shutil.copytree(sample / "keys", work / "keys")
    for key in (work / "keys").iterdir():
        key.chmod(0o600)
    keys = work / "keys"
    identities = sorted(keys.glob("*.txt"))
    own = ["age-keygen", "-y", *map(str, identities[:1])]
    recipient = subprocess.run(own, check=True, capture_output=True, text=True).stdout.strip()
    clients = servers.client_directory(target.flavour)
    fields = {
        "site": "spoqplus",
        "language": "en",
        "database": {"client_directory": str(clients) if clients else None},
        "files": FILES,
        "faces": {"directory": str(SOURCE / "faces")},
        "environment": {
            "gpg_recipient": GPG_RECIPIENT,
            "gpg_public_key_file": str(keys / "public.gpg"),
            "gpg_private_key_file": str(keys / "private.gpg"),
        },
        "staging": {"directory": str(work / "staging")},
        "repositories": [{"name": "kept", "root": f"file://{work}/repository"}],
        "encryption": {"recipients": [recipient], "identity_files": list(map(str, identities))},
        "signing": {"public_key_files": [str(keys / "signing.pub")]},
        "slack": {"connection": None},
        "restore": {"files_root": str(work / "restored"), "ownership": {}},
    }
    (work / "site.yaml").write_text(yaml.safe_dump(fields, allow_unicode=True))
    lost = database_record("spoqplus_mysql", target)
    records = {TEST: database_record(TEST, target), "spoqplus_mysql": lost}
    return Site(load_settings(work / "site.yaml"), TestConnections(records))
