"""What is wrong with the backups turns a real run of the recovery test red, with the right words in its report."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.proof.model import Proof
from spoqplus_backup.core.settings import load_settings
from support import servers
from support.backups import Site, database_record, make_site
from support.dag_runs import Run, run_dag
from support.keys import age_pair

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SANDBOX = "spoqplus_sandbox_mysql"
CHECKS = {
    "checks": [
        {
            "name": "payments_have_members",
            "title": {"ko": "결제마다 회원이 있음", "en": "Each payment has its member"},
            "sql": "SELECT p.id FROM club.payments p LEFT JOIN club.members m ON m.id = p.member_id WHERE m.id IS NULL",
            "expect": {"empty": True},
        }
    ]
}
WHOLE = {"records", "integrity", "uploads", "faces", "keys", "payments_have_members"}


@dataclass
class Club:
    """A site with backups, whose tests run in a server that is kept for them."""

    site: Site
    production: SandboxServer
    directory: Path
    test: Callable[[], tuple[Run, Proof]]
    undo: ExitStack

    def run(self, *statements: str) -> None:
        """Statements at production."""
        servers.run(self.production, *statements)

    def behind_the_backup(self, *statements: str) -> None:
        """Statements that no binary log has: from here on the backups differ from production."""
        servers.run(self.production, "SET sql_log_bin = 0", *statements)

    def stored(self, pattern: str) -> list[Path]:
        """Files of the repository."""
        root = Path(self.site.settings.repositories[0].root.removeprefix("file://"))
        return sorted(root.glob(pattern))

    def configure(self, **sections: dict[str, Any]) -> None:
        """Change fields of sections of the site's file."""
        path = self.site.settings.source
        assert path is not None
        content = yaml.safe_load(path.read_text())
        for name, fields in sections.items():
            content[name] = content.get(name, {}) | fields
        path.write_text(yaml.safe_dump(content))
        self.site.settings = load_settings(path)


def face(first: int) -> str:
    return json.dumps([(first * 7 + number * number) % 101 / 100 for number in range(128)])


@pytest.fixture(scope="module")
def made(
    mariadb_server: SandboxServer, mariadb_target: SandboxServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Site, SandboxServer, Path]:
    for server in (mariadb_server, mariadb_target):
        servers.empty(server)
    servers.run(
        mariadb_server,
        "CREATE DATABASE club",
        "CREATE TABLE club.members (id INT PRIMARY KEY, name VARCHAR(20))",
        "CREATE TABLE club.payments (id INT PRIMARY KEY, member_id INT)",
        "CREATE TABLE club.faces (id INT PRIMARY KEY, member_id INT, encoding TEXT)",
        "INSERT INTO club.members VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "INSERT INTO club.payments VALUES (10, 1), (11, 2)",
        *(f"INSERT INTO club.faces VALUES ({number}, {number}, '{face(number)}')" for number in (1, 2, 3)),
    )
    directory = tmp_path_factory.mktemp("club")
    uploads, checks = directory / "uploads", directory / "checks"
    for folder in (uploads, checks):
        folder.mkdir()
    Image.new("RGB", (8, 8)).save(uploads / "picture.png")
    (checks / "club.yaml").write_text(yaml.safe_dump(CHECKS))
    faces = {"query": "SELECT id, member_id, encoding, '' FROM club.faces", "images": None}
    proof = {"connection": SANDBOX, "fingerprint": {"load": 1}, "faces": faces, "checks": [str(checks)]}
    files = [{"name": "uploads", "paths": [str(uploads)]}]
    site = make_site(directory / "site", mariadb_server, files=files, recovery_test=proof, language="en")
    site.connections.records[SANDBOX] = database_record(SANDBOX, mariadb_target)
    site.back_up()
    servers.run(mariadb_server, "UPDATE club.members SET name = 'x' WHERE id = 1")
    site.archive()
    servers.run(mariadb_server, "UPDATE club.members SET name = 'y' WHERE id = 1")
    site.archive()
    return site, mariadb_server, directory


@pytest.fixture
def club(
    made: tuple[Site, SandboxServer, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Club]:
    """The site as it was when its tests passed; each test undoes what it did to the server and the repository."""
    site, production, directory = made
    site.export(monkeypatch)
    source = site.settings.source
    assert source is not None
    file = source.read_bytes()

    def test() -> tuple[Run, Proof]:
        found = run_dag("recovery_test.py", "spoqplus_recovery_test", directory / "dags", monkeypatch, caplog)
        report = found.newest_file(r"file://(\S+/report)\.html")
        return found, Proof.model_validate_json(Path(f"{report}.json").read_text())

    with ExitStack() as undo:
        undo.callback(source.write_bytes, file)
        yield Club(site, production, directory, test, undo)
    site.settings = load_settings(source)


def said(proof: Proof) -> str:
    """What a report says of what is wrong."""
    words = [item.words for check in proof.checks if check.verdict == "failed" for item in check.evidence]
    return " ".join([proof.failure or "", *words])


def red(club: Club, words: str, *checks: str) -> Proof:
    """Run a test that has to be red for these checks alone, and say why; everything is cleaned up."""
    run, proof = club.test()
    assert run.state == "failed", run.tasks
    assert proof.verdict == "failed"
    assert re.search(words, said(proof)), said(proof)
    assert {check.name for check in proof.checks if check.verdict == "failed"} == set(checks)
    assert {"report"} <= run.tasks_that("failed")
    assert run.tasks["stop_sandbox"] == "success"
    staging = club.site.settings.staging.directory
    assert [path for name in ("recovery_test", "restore") for path in (staging / name).glob("*/*/")] == []
    return proof


def test_nothing_is_wrong(club: Club) -> None:
    run, proof = club.test()
    assert (run.state, proof.verdict, said(proof)) == ("success", "passed", "")
    assert {check.name: check.verdict for check in proof.checks} == dict.fromkeys(WHOLE, "passed")


def test_a_row_that_the_backup_has_otherwise(club: Club) -> None:
    club.undo.callback(club.behind_the_backup, "UPDATE club.members SET name = 'b' WHERE id = 2")
    club.behind_the_backup("UPDATE club.members SET name = 'other' WHERE id = 2")
    red(club, r"club\.members has 3 rows as in production, but not the same.*2", "records")


def test_a_row_that_the_backup_lost(club: Club) -> None:
    club.undo.callback(club.behind_the_backup, "DELETE FROM club.members WHERE id = 44")
    club.behind_the_backup("INSERT INTO club.members VALUES (44, 'lost')")
    red(club, r"club\.members has 3 rows; production has 4.*44", "records")


def test_a_binary_log_that_is_missing(club: Club) -> None:
    sidecar = club.stored("binlog/*/*/*.json")[0]
    log = sidecar.name.removesuffix(".json")
    club.run(
        f"PURGE BINARY LOGS TO '{servers.run(club.production, 'SHOW BINARY LOGS')[1][0]}'"
    )  # else it is archived again
    servers.wait_until(lambda: servers.run(club.production, "SHOW BINARY LOGS")[0][0] != log, 60, "the log's end")
    aside = club.directory / sidecar.name
    shutil.move(sidecar, aside)
    club.undo.callback(shutil.move, aside, sidecar)
    proof = red(club, re.escape(log))
    assert {check.verdict for check in proof.checks} == {"not_run"}


def test_a_part_of_the_files_that_is_damaged(club: Club) -> None:
    (part,) = club.stored("daily/*/uploads/000001.*")
    whole = part.read_bytes()
    club.undo.callback(part.write_bytes, whole)
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    red(club, f"fetch: .*uploads/{re.escape(part.name)}")


def test_an_encoding_that_is_cut_short(club: Club) -> None:
    club.undo.callback(club.run, f"UPDATE club.faces SET encoding = '{face(2)}' WHERE id = 2")
    club.run("UPDATE club.faces SET encoding = LEFT(encoding, 200) WHERE id = 2")
    red(club, r"2\b", "faces")


def test_a_payment_without_its_member(club: Club) -> None:
    club.undo.callback(club.run, "INSERT INTO club.members VALUES (2, 'b')")
    club.run("DELETE FROM club.members WHERE id = 2")
    red(club, r"11\b", "payments_have_members")


def test_a_wrong_key(club: Club, tmp_path: Path) -> None:
    (identity,) = club.site.settings.encryption.identity_files
    club.undo.callback(identity.write_bytes, identity.read_bytes())
    shutil.copy(age_pair(tmp_path, "wrong").identity_file, identity)
    red(club, "key")


def test_a_sandbox_that_can_not_start(club: Club, tmp_path: Path) -> None:
    club.configure(restore={"server_directory": str(tmp_path)}, recovery_test={"connection": None})
    red(club, f"start_sandbox: There is no mariadbd in {tmp_path}")


def test_a_restore_that_takes_longer_than_promised(club: Club) -> None:
    club.configure(objectives={"rto_hours": 0.00001})
    run, proof = club.test()
    assert (run.state, proof.verdict, proof.in_time) == ("failed", "failed", False)
    assert {check.verdict for check in proof.checks} == {"passed"}
    assert run.tasks_that("failed") == {"report", "notify"}
