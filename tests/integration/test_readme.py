"""What the READMEs tell people to type works, word for word: grants, and restoring by hand on both vendors."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compare import differences, snapshot
from spoqplus_backup.core.connections import ConnectionRecord
from spoqplus_backup.core.crypto import OpensslScheme
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.recovery.request import parameters
from support import hard_data, servers, trees
from support.backups import PRODUCTION, TEST, Site, make_site
from support.servers import rows
from support.trees import nasty_tree

ENGLISH, KOREAN = (servers.PROJECT / name for name in ("README.md", "README.ko.md"))
SET_FOLDER = "/backup/spoqplus/daily/20250101_030000"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def blocks(file: Path, language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", file.read_text(), re.DOTALL | re.MULTILINE)


def without_comments(block: str) -> str:
    return re.sub(r" +# .*", "", block)


@pytest.mark.parametrize("language", ["sh", "sql", "console", "yaml"])
def test_both_readmes_tell_people_to_type_the_same(language: str) -> None:
    english, korean = ([without_comments(block) for block in blocks(file, language)] for file in (ENGLISH, KOREAN))
    assert english
    assert english == korean


@pytest.mark.parametrize("file", [ENGLISH, KOREAN], ids=lambda file: file.name)
def test_what_the_readme_links_to_is_there(file: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)(#[^)]*)?\)", file.read_text())
    assert [link for link, _ in links if not (servers.PROJECT / link).exists()] == []
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    }
    inner = re.findall(r"\]\(#([^)]+)\)", file.read_text())
    assert [anchor for anchor in inner if anchor not in anchors] == []


@pytest.mark.parametrize("file", [ENGLISH, KOREAN], ids=lambda file: file.name)
def test_the_readme_names_the_two_commands_and_every_parameter(file: Path) -> None:
    text = file.read_text()
    assert "$ make demo" in text
    assert "$ make test" in text
    assert "images/daily-backup-graph" in text
    assert [name for name in parameters() if f"`{name}`" not in text] == []


# ---- accounts ----


def run_sql(server: SandboxServer, statements: str) -> None:
    connection = server.connect()
    for statement in statements.split(";\n"):
        if statement.strip():
            rows(connection, statement.replace("'10.0.0.%'", "'%'"))
    connection.close()


def as_user(server: SandboxServer, connection_id: str, statements: str) -> ConnectionRecord:
    """The connection of the account that these statements make, over TCP as on a real site."""
    user, password = re.findall(r"CREATE USER (\w+)@'[^']+' IDENTIFIED BY '([^']+)'", statements)[0]
    return ConnectionRecord(
        id=connection_id, type="mysql", host="127.0.0.1", port=server.port, login=user, password=password
    )


def without_anonymous(server: SandboxServer) -> None:
    """MariaDB makes accounts without a name, which go before those of any host."""
    if server.flavour == "mariadb":
        for (host,) in rows(server.connect(), "SELECT Host FROM mysql.user WHERE User = ''"):
            rows(server.connect(), f"DROP USER ''@'{host}'")


def may_execute(server: SandboxServer, user: str) -> None:
    """What the README says of views that call functions."""
    functions = "SELECT ROUTINE_SCHEMA, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'FUNCTION'"
    for schema, name in rows(server.connect(), f"{functions} AND ROUTINE_SCHEMA NOT IN ('mysql', 'sys')"):
        function = f"{servers.quoted(schema)}.{servers.quoted(name)}"
        rows(server.connect(), f"GRANT EXECUTE ON FUNCTION {function} TO {user}@'%'")


def test_the_grants_suffice_for_a_backup_and_a_restore(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path
) -> None:
    mariadb, mysql, restoring = blocks(ENGLISH, "sql")
    reading = mariadb if db_server.flavour == "mariadb" else mysql
    names = hard_data.build(db_server, small_tables=5, big_row_mib=1)
    for server, statements in ((db_server, reading), (restore_target, restoring)):
        without_anonymous(server)
        run_sql(server, statements)
    site = make_site(tmp_path, db_server, restore_target)
    site.connections.records |= {
        PRODUCTION: as_user(db_server, PRODUCTION, reading),
        TEST: as_user(restore_target, TEST, restoring),
    }
    before = snapshot(db_server.connect(), names, accounts=False)

    if db_server.flavour == "mariadb":
        with pytest.raises(PermanentError, match=r"may not execute .*spoq_hard\..*GRANT EXECUTE ON FUNCTION"):
            site.start()
        may_execute(db_server, "spoqplus_backup")
    site.back_up()
    site.restore(components=["accounts", "database"])

    assert differences(before, snapshot(restore_target.connect(), names, accounts=False)) == []


# ---- by hand ----


@dataclass
class Person:
    """Somebody with a shell, a set's folder, the keys, and nothing of ours."""

    folder: Path
    home: Path
    flavour: Flavour
    prove: str
    everything: str
    one_table: str
    roll_forward: str
    files: str
    faces: str
    environment: str

    def types(self, *commands: str) -> subprocess.CompletedProcess[str]:
        """Run commands in one shell, in the set's folder."""
        clients = [str(servers.MYSQL_DIRECTORY / "bin")] if self.flavour == "mysql" else []
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join([f"cd {self.folder}", *commands])],
            env={"PATH": os.pathsep.join([*clients, "/usr/bin", "/bin"]), "HOME": str(self.home), "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )


def person(site: Site, target: SandboxServer, home: Path) -> Person:
    """Gets a fresh daily backup of the site, and may log in at `target`."""
    folder = Path(site.settings.repositories[0].root.removeprefix("file://"), site.back_up().set)
    home.mkdir()
    (home / "identity.txt").write_bytes(site.settings.encryption.identity_files[0].read_bytes())
    (home / "signing.pub").write_bytes(site.settings.signing.public_key_files[0].read_bytes())
    (home / ".my.cnf").write_text(f"[client]\nuser=root\nsocket={target.socket}\n")
    (home / ".my.cnf").chmod(0o600)
    typed = (block.replace(SET_FOLDER, str(folder)) for block in blocks(ENGLISH, "sh"))
    return Person(folder, home, target.flavour, *typed)


def test_a_backup_comes_back_by_hand(db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path) -> None:
    names = hard_data.build(db_server, small_tables=5, big_row_mib=20)
    rows(db_server.connect(), "CREATE USER someone@'%' IDENTIFIED BY 'secret'")
    before = snapshot(db_server.connect(), names, accounts=False)
    somebody = person(make_site(tmp_path / "site", db_server), restore_target, tmp_path / "home")

    typed = somebody.types(somebody.prove, somebody.everything)
    assert typed.returncode == 0, typed.stdout + typed.stderr
    assert "Verified Successfully" in typed.stdout
    assert differences(before, snapshot(restore_target.connect(), names, accounts=False)) == []
    assert ("someone", "%") in servers.accounts(restore_target.connect())

    # one table, with its trigger; the others are not touched
    database = hard_data.MAIN
    triggers = "SELECT EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s LIMIT 1"
    ((table,),) = rows(db_server.connect(), triggers, (database,))
    target = restore_target.connect(database=database)
    rows(target, "SET foreign_key_checks = 0")
    rows(target, f"DROP TABLE {servers.quoted(table)}")
    of_that_table = somebody.one_table.replace("spoqplus payments", f"{database} {table}")
    typed = somebody.types(of_that_table.replace("1G spoqplus", f"1G {database}"))
    assert typed.returncode == 0, typed.stdout + typed.stderr
    assert differences(before, snapshot(restore_target.connect(), names, accounts=False)) == []


def test_a_backup_is_rolled_forward_by_hand(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path
) -> None:
    rows(db_server.connect(), "CREATE DATABASE spoqplus")
    rows(db_server.connect(), "CREATE TABLE spoqplus.payments (id INT PRIMARY KEY, note VARCHAR(20))")
    rows(db_server.connect(), "FLUSH BINARY LOGS")
    rows(db_server.connect(), "INSERT INTO spoqplus.payments VALUES (1, 'in the dump')")
    site = make_site(tmp_path / "site", db_server)
    somebody = person(site, restore_target, tmp_path / "home")
    for number in (2, 3):
        rows(db_server.connect(), f"INSERT INTO spoqplus.payments VALUES ({number}, '나중')")
        site.archive()
    before = snapshot(db_server.connect(), ["spoqplus"], accounts=False)

    (folder,) = (somebody.folder.parents[1] / "binlog").glob("*/*")
    later = somebody.roll_forward.replace("/backup/spoqplus/binlog/1/000001", str(folder))
    later = later.replace("2025-01-01 05:30:00", "2037-01-01 00:00:00")
    typed = somebody.types(somebody.everything, later)
    assert typed.returncode == 0, typed.stdout + typed.stderr
    assert typed.stdout.count("Verified Successfully") == 2, "the log before the snapshot is not needed"
    assert differences(before, snapshot(restore_target.connect(), ["spoqplus"], accounts=False)) == []


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Uploads with everything that a file system knows, face images, and a `.env`."""
    nasty_tree(tmp_path / "html" / "uploads")
    nasty_tree(tmp_path / "html" / "faces")
    (tmp_path / "html" / "faces" / "fifo").unlink()  # no face image: it is left out
    (tmp_path / "html" / ".env").write_text("DB_PASSWORD='비밀'\n")
    return tmp_path / "html"


def test_files_come_back_by_hand(mariadb_server: SandboxServer, source: Path, tmp_path: Path) -> None:
    servers.empty(mariadb_server)
    rows(mariadb_server.connect(), "CREATE DATABASE spoqplus")
    uploads, faces = source / "uploads", source / "faces"
    site = make_site(
        tmp_path / "site",
        mariadb_server,
        files=[{"name": "uploads", "paths": [str(uploads)]}],
        faces={"directory": str(faces)},
        environment={"files": [str(source / ".env")]},
    )
    weekly = site.back_up("weekly").set
    (uploads / "large").unlink()
    (uploads / "modes").rename(uploads / "renamed")
    (uploads / "new").write_bytes(os.urandom(100_000))
    somebody = person(site, mariadb_server, tmp_path / "home")
    expected = trees.described(uploads), trees.described(faces)
    repository, target = somebody.folder.parents[1], tmp_path / "target"
    target.mkdir()

    def typed(block: str) -> subprocess.CompletedProcess[str]:
        block = block.replace("/backup/spoqplus", str(repository)).replace("weekly/20241229_040000", weekly)
        block = block.replace("daily/20250101_030000", str(somebody.folder.relative_to(repository)))
        done = somebody.types(block.replace("cd /\n", f"cd {target}\n").replace('.jsonl" / <<', f'.jsonl" {target} <<'))
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    typed(somebody.prove)
    typed(somebody.files)
    typed(somebody.faces)
    there = target / str(source)[1:]
    assert trees.differences(expected[0], trees.described(there / "uploads")) == []
    assert trees.differences(as_face_images(expected[1]), as_face_images(trees.described(there / "faces"))) == []
    assert "DB_PASSWORD='비밀'\n" in typed(somebody.environment).stdout


def as_face_images(described: dict[bytes, dict[str, Any]]) -> dict[bytes, dict[str, Any]]:
    """Each a file of its own, without holes; of times, what a double in seconds can tell."""
    for facts in described.values():
        facts.pop("linked", None)
        facts.pop("sparse", None)
        facts["modified"] /= 1e9
    return described


@pytest.fixture
def careful(mariadb_server: SandboxServer, tmp_path: Path) -> Person:
    servers.empty(mariadb_server)
    rows(mariadb_server.connect(), "CREATE DATABASE spoqplus")
    rows(mariadb_server.connect(database="spoqplus"), "CREATE TABLE payments AS SELECT seq FROM seq_1_to_1000")
    return person(make_site(tmp_path / "site", mariadb_server), mariadb_server, tmp_path / "home")


def test_a_flipped_byte_shows_before_anything_is_loaded(careful: Person) -> None:
    part = careful.folder / "database" / "000001.sql.zst.age"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    typed = careful.types(careful.prove)
    assert typed.returncode != 0
    assert "database/000001.sql.zst.age: FAILED" in typed.stdout


def test_a_forged_manifest_shows(careful: Person) -> None:
    manifest = careful.folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"daily"', b'"other"'))
    typed = careful.types(careful.prove)
    assert typed.returncode != 0
    assert "Signature Verification Failure" in typed.stdout + typed.stderr


@pytest.mark.parametrize("file", [ENGLISH, KOREAN], ids=lambda file: file.name)
def test_a_part_by_password_opens_by_hand(file: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"INSERT INTO t VALUES (1);\n" * 1000)
    OpensslScheme("pass phrase").encrypt(tmp_path / "plain", tmp_path / "PART")
    (tmp_path / "password.txt").write_text("pass phrase\n")
    command = re.search(r"`(openssl enc -d [^`]+)`", file.read_text())
    assert command is not None
    opened = subprocess.run(command[1], shell=True, cwd=tmp_path, check=True, capture_output=True).stdout
    assert opened == (tmp_path / "plain").read_bytes()
