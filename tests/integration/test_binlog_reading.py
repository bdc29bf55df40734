"""What our reader makes of real logs of both vendors, held against what the servers themselves say."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.mysql.binlog_transactions import LogSummary, Transaction, Transactions, summarise
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support.servers import rows

pytestmark = pytest.mark.integration


def logs(server: SandboxServer) -> list[Path]:
    """Every log of the server, the open one last."""
    names = (line.strip() for line in (server.datadir / "binlog.index").read_text().splitlines())
    return [server.datadir / Path(name).name for name in names]


def summary(path: Path) -> LogSummary:
    with path.open("rb") as file:
        return summarise(file.read, path.name, path.stat().st_size)


def transactions(path: Path) -> list[Transaction]:
    with path.open("rb") as file:
        return list(Transactions(file.read, path.name))


@pytest.fixture
def connection(db_server: SandboxServer) -> Iterator[Any]:
    """A session on an empty server whose logs begin anew."""
    made = db_server.connect()
    rows(made, "CREATE DATABASE shop")
    rows(made, "CREATE TABLE shop.t (id INT PRIMARY KEY AUTO_INCREMENT, v LONGTEXT)")
    yield made
    made.close()


def executed(connection: Any, flavour: str) -> str:
    variable = "@@gtid_binlog_state" if flavour == "mariadb" else "@@gtid_executed"
    ((found,),) = rows(connection, f"SELECT {variable}")
    return str(found).replace("\n", "")


def test_gtids_before_and_after_follow_through_rotations(db_server: SandboxServer, connection: Any) -> None:
    for number in range(3):
        rows(connection, f"INSERT INTO shop.t (v) VALUES ('{number}')")
        rows(connection, "FLUSH BINARY LOGS")
    found = [summary(path) for path in logs(db_server)]
    assert found[0].before == ""
    assert [one.after for one in found[:-1]] == [one.before for one in found[1:]]
    assert found[-1].after == executed(connection, db_server.flavour)
    assert [one.closed for one in found[:-1]] == ["rotate"] * 3
    assert [one.next_log for one in found[:-1]] == [path.name for path in logs(db_server)[1:]]
    assert [one.transactions for one in found] == [3, 1, 1, 0]


def test_every_kind_of_transaction_ends_where_the_next_begins(db_server: SandboxServer, connection: Any) -> None:
    rows(connection, "CREATE TABLE shop.m (id INT) ENGINE=MyISAM")
    rows(connection, "INSERT INTO shop.m VALUES (1), (2)")
    connection.autocommit(False)
    rows(connection, "INSERT INTO shop.t (v) VALUES ('a'), ('b')")
    rows(connection, "SAVEPOINT s")
    rows(connection, "DELETE FROM shop.t")
    rows(connection, "ROLLBACK TO s")
    rows(connection, "UPDATE shop.t SET v = 'COMMIT'")
    connection.commit()
    connection.autocommit(True)
    for end in ("COMMIT", "ROLLBACK"):
        rows(connection, "XA START 'one', 'two', 1")
        rows(connection, "INSERT INTO shop.t (v) VALUES ('xa')")
        rows(connection, "XA END 'one', 'two', 1")
        rows(connection, "XA PREPARE 'one', 'two', 1")
        rows(connection, f"XA {end} 'one', 'two', 1")
    rows(connection, "CREATE TABLE shop.u AS SELECT * FROM shop.t")
    rows(connection, "CREATE PROCEDURE shop.p() BEGIN /* BEGIN */ SELECT 'COMMIT'; END")
    rows(connection, "DROP TABLE shop.u")
    rows(connection, "FLUSH BINARY LOGS")
    path = logs(db_server)[0]
    found = transactions(path)
    assert [one.end for one in found[:-1]] == [two.start for two in found[1:]]
    changes = [sorted(one.changes) for one in found if one.changes]
    assert changes.count([("shop", "t")]) == 3
    assert [("shop", "m")] in changes
    assert [("shop", "u")] in changes
    assert summary(path).after == executed(connection, db_server.flavour)


def test_offsets_are_those_that_the_server_shows(db_server: SandboxServer, connection: Any) -> None:
    rows(connection, "INSERT INTO shop.t (v) VALUES (REPEAT('x', 300000))")
    path = logs(db_server)[0]
    shown = rows(connection, f"SHOW BINLOG EVENTS IN '{path.name}'")
    begins = [row[1] for row in shown if re.fullmatch("Gtid|Anonymous_Gtid", row[2])]
    assert [one.start for one in transactions(path)] == begins
    assert transactions(path)[-1].end == shown[-1][4]


def test_commit_times_are_the_server_s(db_server: SandboxServer, connection: Any) -> None:
    ((before,),) = rows(connection, "SELECT UNIX_TIMESTAMP(NOW(6))")
    rows(connection, "INSERT INTO shop.t (v) VALUES ('x')")
    ((after,),) = rows(connection, "SELECT UNIX_TIMESTAMP(NOW(6))")
    at = transactions(logs(db_server)[0])[-1].at.timestamp()
    resolution = 1 if db_server.flavour == "mariadb" else 0
    assert float(before) - resolution <= at <= float(after)


def test_compressed_events_are_read(db_server: SandboxServer, connection: Any) -> None:
    if db_server.flavour == "mariadb":
        rows(connection, "SET GLOBAL log_bin_compress = 1")
    else:
        rows(connection, "SET SESSION binlog_transaction_compression = ON")
    try:
        rows(connection, "INSERT INTO shop.t (v) VALUES (REPEAT('x', 3000000))")
        rows(connection, "DELETE FROM shop.t")
    finally:
        if db_server.flavour == "mariadb":
            rows(connection, "SET GLOBAL log_bin_compress = 0")
    path = logs(db_server)[0]
    assert path.stat().st_size < 1_000_000
    assert [one.changes for one in transactions(path)[-2:]] == [
        {("shop", "t"): {"insert": 1}},
        {("shop", "t"): {"delete": 1}},
    ]


def test_a_mysql_gtid_with_a_tag_is_read(mysql_server: SandboxServer) -> None:
    connection = mysql_server.connect()
    rows(connection, "RESET BINARY LOGS AND GTIDS")
    rows(connection, "CREATE DATABASE tagged")
    rows(connection, "SET gtid_next = 'AUTOMATIC:blue'")
    rows(connection, "CREATE TABLE tagged.t (id INT)")
    rows(connection, "INSERT INTO tagged.t VALUES (1)")
    rows(connection, "FLUSH BINARY LOGS")
    first, second = (summary(path) for path in logs(mysql_server))
    assert first.after == second.before == executed(connection, "mysql")
    assert ":blue:1-2" in first.after


def test_a_log_that_is_cut_off_ends_with_its_last_whole_transaction(db_server: SandboxServer, connection: Any) -> None:
    for number in range(4):
        rows(connection, f"INSERT INTO shop.t (v) VALUES (REPEAT('{number}', 100))")
    path = logs(db_server)[0]
    content, found = path.read_bytes(), transactions(path)
    for cut in range(found[1].end, len(content) + 1):
        one = summarise(io.BytesIO(content[:cut]).read, "cut", cut)
        ends = [two.end for two in found if two.end <= cut]
        assert one.transactions == len(ends)
        assert one.end == ends[-1]
        assert one.truncated == (cut != ends[-1])
        assert one.closed == "crash"


def test_a_changed_byte_is_told(db_server: SandboxServer, connection: Any) -> None:
    rows(connection, "INSERT INTO shop.t (v) VALUES ('x')")
    content = bytearray(logs(db_server)[0].read_bytes())
    for at in range(len(content) - 60, len(content), 7):
        damaged = bytearray(content)
        damaged[at] ^= 1
        cut_short = False
        try:
            cut_short = summarise(io.BytesIO(damaged).read, "damaged", len(damaged)).truncated  # a longer length
        except IntegrityError as error:
            assert "damaged" in str(error)  # noqa: PT017 (either of two answers is right)
        else:
            assert cut_short


@pytest.mark.parametrize("content", [b"", b"\xfebi", b"not a log at all", b"\xfebin" + b"\0" * 40])
def test_what_is_no_log_is_refused(content: bytes) -> None:
    with pytest.raises(IntegrityError, match="no binary log|damaged"):
        summarise(io.BytesIO(content).read, "nothing", len(content))
