"""Replaying binary logs through mysqlbinlog: exactly from one place to another, and every transaction once."""

import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import compare
from spoqplus_backup.core import process
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.mysql import replay_marker
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.recovery.replay import Options, Replay, ReplayResult, forget, replay
from support import servers
from support.logs import (
    FIRST_OFFSET,
    content,
    count_up,
    counted,
    take_logs,
    transactions,
    write_everything,
)
from support.servers import client_directory, login, rows, run

pytestmark = pytest.mark.integration

KEY = "test"


def apply(job: Replay, target: SandboxServer, **options: Any) -> ReplayResult:
    chosen = Options(**({"key": KEY} | options))
    return replay(job, login(target), target.flavour, client_directory(target.flavour), chosen)


def own_gtids(source: SandboxServer, target: SandboxServer) -> None:
    """Let the target have executed one of the source's transactions already, so that it can't keep their GTIDs."""
    if source.flavour == "mysql":
        uuid = run(source, "SELECT @@server_uuid")[0][0]
        run(target, f"SET GLOBAL gtid_purged = '{uuid}:1'")


@pytest.mark.parametrize("binary_log", [True, False], ids=["logged", "unlogged"])
@pytest.mark.parametrize("gtids", ["kept", "own"])
def test_everything_that_a_server_logs_is_replayed_as_it_was(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path, binary_log: bool, gtids: str
) -> None:
    write_everything(db_server)
    if gtids == "own":
        own_gtids(db_server, restore_target)
    run(restore_target, "SET GLOBAL time_zone = '-03:00'")
    result = apply(Replay(take_logs(db_server, tmp_path / "logs"), FIRST_OFFSET), restore_target, binary_log=binary_log)
    run(restore_target, "SET GLOBAL time_zone = SYSTEM")
    assert compare.differences(content(db_server), content(restore_target)) == []
    assert result.transactions > 30
    assert result.gtids == (gtids if db_server.flavour == "mysql" else "own")
    forget(login(restore_target), KEY, binary_log=binary_log)
    assert "spoqplus_restore" not in [name for (name,) in run(restore_target, "SHOW DATABASES")]


def test_a_server_replays_its_own_logs(db_server: SandboxServer, tmp_path: Path) -> None:
    """The usual production restore: the target has executed all of these transactions once already."""
    write_everything(db_server)
    logs, before = take_logs(db_server, tmp_path / "logs"), content(db_server)
    run(db_server, "DROP DATABASE app")
    strict = ["SET GLOBAL gtid_strict_mode = 1"] if db_server.flavour == "mariadb" else []
    run(db_server, *strict, "SELECT 1")
    try:
        result = apply(Replay(logs, FIRST_OFFSET), db_server)
    finally:
        run(db_server, *(["SET GLOBAL gtid_strict_mode = 0"] if strict else []), "SELECT 1")
    assert result.gtids == "own"
    assert compare.differences(before, content(db_server)) == []


def test_a_rebuilt_server_keeps_the_gtids(
    mysql_server: SandboxServer, mysql_target: SandboxServer, tmp_path: Path
) -> None:
    servers.empty(mysql_server)
    servers.empty(mysql_target)
    count_up(mysql_server, 20)
    logs = take_logs(mysql_server, tmp_path / "logs")
    apply(Replay(logs, FIRST_OFFSET), mysql_target, binary_log=False)
    executed = [run(server, "SELECT @@GLOBAL.gtid_executed")[0][0] for server in (mysql_server, mysql_target)]
    assert executed[0] == executed[1]


def test_start_and_stop_are_exact(db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path) -> None:
    count_up(db_server, 30)
    logs = take_logs(db_server, tmp_path / "logs")
    cuts = [found.end for found in transactions(logs[-1])]
    for stop in (cuts[3], cuts[4], cuts[17], cuts[17], None):
        result = apply(Replay(logs, FIRST_OFFSET, stop), restore_target)
        expected = len(cuts) if stop is None else cuts.index(stop) + 1
        assert counted(restore_target) == expected - 4  # the first ones make database and tables
    assert result.last is not None
    assert result.last.place == cuts[-1]


def test_a_snapshot_is_rolled_forward_from_its_place(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path
) -> None:
    count_up(db_server, 12)
    logs = take_logs(db_server, tmp_path / "logs")
    cuts = [found.end for found in transactions(logs[0])]
    apply(Replay(logs, FIRST_OFFSET, cuts[7]), restore_target, key="the snapshot")
    result = apply(Replay(logs, cuts[7]), restore_target)
    assert (result.transactions, counted(restore_target)) == (8, 12)


@pytest.mark.parametrize("where", ["start", "stop"])
def test_a_place_inside_of_a_transaction_is_refused(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path, where: str
) -> None:
    count_up(db_server, 5)
    logs = take_logs(db_server, tmp_path / "logs")
    inside = transactions(logs[0])[3].start + 1
    job = Replay(logs, inside) if where == "start" else Replay(logs, FIRST_OFFSET, inside)
    with pytest.raises(PermanentError, match="lies inside of the transaction at"):
        apply(job, restore_target)


def test_a_missing_log_is_noticed(db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path) -> None:
    for number in range(3):
        count_up(db_server, 3, fresh=number == 0)
        logs = take_logs(db_server, tmp_path / "logs")
    with pytest.raises(PermanentError, match=r"goes on in binlog.000002, not in binlog.000003"):
        apply(Replay((logs[0], logs[2]), FIRST_OFFSET), restore_target)


@pytest.mark.parametrize("lost", ["half an event", "half a transaction"])
def test_of_a_log_whose_server_died_the_whole_transactions_count(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path, lost: str
) -> None:
    count_up(db_server, 10)
    logs = take_logs(db_server, tmp_path / "logs")
    count_up(db_server, 3, fresh=False)
    logs = take_logs(db_server, tmp_path / "logs")
    last = transactions(logs[0])[-1]
    os.truncate(logs[0], last.end - 3 if lost == "half an event" else last.commit_start or 0)
    result = apply(Replay(logs, FIRST_OFFSET), restore_target)
    assert result.transactions == 4 + 9 + 3
    assert run(restore_target, "SELECT COUNT(*) FROM app.plain") == [(9 + 3,)]


def test_what_the_server_refuses_is_named(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path
) -> None:
    count_up(db_server, 10)
    logs = take_logs(db_server, tmp_path / "logs")
    found = transactions(logs[0])
    apply(Replay(logs, FIRST_OFFSET, found[6].end), restore_target)
    run(restore_target, "DELETE FROM app.counter")
    with pytest.raises(PermanentError) as caught:
        apply(Replay(logs, FIRST_OFFSET), restore_target)
    assert f"{found[7].gtid} at {logs[0].name}:{found[7].start}" in str(caught.value)
    assert "ERROR 1032" in str(caught.value)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("victim", "gtids"), [("mysqlbinlog", "own"), ("mysql", "own"), ("server", "own"), ("server", "kept")]
)
def test_whatever_is_killed_every_transaction_is_applied_once(
    db_server: SandboxServer, tmp_path: Path, victim: str, gtids: str
) -> None:
    """The tables say it: one without a key holds a row twice if a transaction is, and a counter refuses one."""
    number = 900
    count_up(db_server, number)
    logs = take_logs(db_server, tmp_path / "logs")
    rng = random.Random(victim + gtids)
    target = servers.start(tmp_path / "target", db_server.flavour)
    try:
        if gtids != "kept":
            own_gtids(db_server, target)
        failures = 0
        for _ in range(3):
            over = threading.Event()
            killer = threading.Thread(target=_kill, args=(victim, target, rng.randrange(20, 250), over))
            killer.start()
            failure: BackupError | None = None
            try:
                apply(Replay(logs, FIRST_OFFSET), target, binary_log=False)
            except BackupError as error:
                failure = error
                failures += 1
            finally:
                over.set()
                killer.join()
            assert not isinstance(failure, PermanentError)
            if not target.is_running():
                target.stop()
                target = servers.start(tmp_path / "target", db_server.flavour)
        apply(Replay(logs, FIRST_OFFSET), target, binary_log=False)
        assert failures
        assert counted(target) == number
        assert compare.differences(content(db_server), content(target)) == []
    finally:
        target.stop()


def _kill(victim: str, target: SandboxServer, transactions: int, over: threading.Event) -> None:
    """Kill a program of the replay, or its server, when about so many more transactions are there; or it is over."""
    connection = target.connect()
    query = "SELECT SUM(TABLE_NAME = 'plain') FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'app'"

    def there() -> int:
        return rows(connection, "SELECT COUNT(*) FROM app.plain")[0][0] if rows(connection, query) == [(1,)] else 0

    wanted = there() + transactions
    servers.wait_until(lambda: over.is_set() or there() >= wanted, 30, f"{transactions} transactions")
    if over.is_set():
        return
    if victim == "server":
        target.kill()
    else:
        for child in [child for child in list(process._running) if child.name == victim]:
            os.kill(child.pid, signal.SIGKILL)


DEFINITIONS = {
    "CREATE TABLE app.more (a INT)": True,
    "DROP TABLE app.plain": True,
    "ALTER TABLE app.counter ADD COLUMN more INT": True,
    "CREATE TABLE app.made AS SELECT * FROM app.counter": True,
    "RENAME TABLE app.plain TO app.renamed": True,
    "CREATE PROCEDURE app.p() SELECT 1": True,
    "CREATE USER somebody": True,
    "ALTER TABLE app.counter ADD INDEX (n)": False,
    "RENAME TABLE app.plain TO app.x, app.counter TO app.plain, app.x TO app.counter": False,
}


@pytest.mark.parametrize("executed", [True, False], ids=["executed", "not executed"])
@pytest.mark.parametrize("statement", DEFINITIONS)
def test_a_definition_that_an_interruption_hit_is_applied_once_or_asked_about(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path, statement: str, executed: bool
) -> None:
    safe = DEFINITIONS[statement] and not (" AS SELECT" in statement and db_server.flavour == "mariadb")
    count_up(db_server, 3)
    own_gtids(db_server, restore_target)
    run(db_server, statement)
    logs = take_logs(db_server, tmp_path / "logs")
    hit = transactions(logs[0])[-1]
    apply(Replay(logs, FIRST_OFFSET, hit.start), restore_target)
    replay_marker.move(login(restore_target), KEY, "intent", logs[0].name, hit.start)
    if executed:
        run(restore_target, statement)
    if not safe:
        with pytest.raises(PermanentError, match="can't be tried twice"):
            apply(Replay(logs, FIRST_OFFSET), restore_target)
        state = "done" if executed else "start"
        place = hit.end if executed else hit.start
        replay_marker.move(login(restore_target), KEY, state, logs[0].name, place)
    apply(Replay(logs, FIRST_OFFSET), restore_target)
    assert compare.differences(content(db_server), content(restore_target)) == []


def test_accounts_are_left_out_where_they_are_not_ours(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path
) -> None:
    count_up(db_server, 2)
    run(
        db_server,
        "CREATE USER bob IDENTIFIED BY 'the secret'",
        "/* a comment */ GRANT SELECT ON app.* TO bob",
        "ALTER USER bob IDENTIFIED BY 'another'",
        "CREATE ROLE readers",
        "FLUSH PRIVILEGES",
        "INSERT INTO app.plain VALUES (77)",
        "DROP USER bob",
    )
    logs = take_logs(db_server, tmp_path / "logs")
    result = apply(Replay(logs, FIRST_OFFSET), restore_target, skip_accounts=True)
    connection = restore_target.connect()
    assert servers.accounts(connection) == []
    connection.close()
    assert compare.differences(content(db_server), content(restore_target)) == []
    assert result.left_out == 6
    assert [line.split(" (")[0] for line in result.skipped][:2] == ["accounts: CREATE USER", "accounts: GRANT SELECT"]
    assert "the secret" not in str(result)


def test_only_wanted_databases_are_replayed(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path
) -> None:
    count_up(db_server, 2)
    run(
        db_server,
        "CREATE DATABASE other",
        "USE app",
        "CREATE TABLE other.a (id INT)",
        "INSERT INTO other.a VALUES (1)",
        "CREATE TABLE b (id INT)",
        "INSERT INTO b VALUES (2)",
        "ALTER TABLE `other`.`a` ADD COLUMN x INT",
    )
    logs = take_logs(db_server, tmp_path / "logs")
    result = apply(Replay(logs, FIRST_OFFSET), restore_target, databases=frozenset({"app"}))
    assert compare.differences(content(db_server, frozenset({"other"})), content(restore_target)) == []
    assert result.left_out == 4


def test_a_transaction_of_wanted_and_other_databases_is_refused(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path
) -> None:
    count_up(db_server, 2)
    run(
        db_server,
        "CREATE DATABASE other",
        "CREATE TABLE other.a (id INT)",
        "BEGIN",
        "INSERT INTO other.a VALUES (1)",
        "INSERT INTO app.plain VALUES (2)",
        "COMMIT",
    )
    logs = take_logs(db_server, tmp_path / "logs")
    with pytest.raises(PermanentError, match="changes app and also other"):
        apply(Replay(logs, FIRST_OFFSET), restore_target, databases=frozenset({"app"}))


def test_the_targets_replicas_see_what_it_sees(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path
) -> None:
    """The target's own log, replayed once more into the source, makes the same again, and minds no notes in it."""
    count_up(db_server, 20)
    compressed = "SET GLOBAL log_bin_compress = ON" if db_server.flavour == "mariadb" else ""
    run(restore_target, compressed or "SET GLOBAL binlog_transaction_compression = ON")
    own_gtids(db_server, restore_target)
    before = content(db_server)
    apply(Replay(take_logs(db_server, tmp_path / "logs"), FIRST_OFFSET), restore_target)
    forget(login(restore_target), KEY)
    again = take_logs(restore_target, tmp_path / "again")
    run(restore_target, compressed.replace("ON", "OFF") or "SET GLOBAL binlog_transaction_compression = OFF")
    servers.empty(db_server)
    result = apply(Replay(again, FIRST_OFFSET), db_server)
    assert f"notes: CREATE DATABASE ({transactions(again[0])[0].gtid}" in result.skipped[0]
    assert compare.differences(before, content(db_server)) == []


ACCOUNTS = (
    "ALTER USER gone IDENTIFIED BY 'the secret'",
    "GRANT SELECT ON app.* TO gone",
    "REVOKE SELECT ON app.* FROM gone",
    "DROP USER gone",
    "REVOKE SELECT ON app.* FROM there",
)


@pytest.mark.parametrize("gtids", ["kept", "own"])
def test_accounts_that_were_restored_as_of_a_later_moment_do_not_stop_it(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path, gtids: str
) -> None:
    run(db_server, "CREATE USER gone", "CREATE USER there", "CREATE DATABASE app", "CREATE TABLE app.t (a INT)")
    run(db_server, "GRANT SELECT ON app.* TO there")
    before = len(transactions(take_logs(db_server, tmp_path / "logs")[0]))
    for number, statement in enumerate(ACCOUNTS):
        run(db_server, f"INSERT INTO app.t VALUES ({number})", statement)
    run(db_server, "INSERT INTO app.t VALUES (99)")
    logs = take_logs(db_server, tmp_path / "logs")
    if gtids == "own":
        own_gtids(db_server, restore_target)
    run(restore_target, "CREATE DATABASE app", "CREATE TABLE app.t (a INT)", "CREATE USER there")
    job = Replay(logs[1:], FIRST_OFFSET)
    assert before
    result = apply(job, restore_target)
    assert compare.differences(content(db_server), content(restore_target)) == []
    assert result.left_out >= 3
    assert (result.transactions, len(transactions(logs[1]))) == (11 - result.left_out, 11)
    assert [line.partition(" ")[0] for line in result.skipped] == ["accounts:"] * result.left_out
    assert "the secret" not in str(result)
    assert servers.accounts(restore_target.connect()) == servers.accounts(db_server.connect())
    again = apply(job, restore_target)
    assert again.transactions == 0


def test_a_replay_that_hangs_is_ended_and_goes_on_when_it_is_called_again(
    db_server: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TERMINATE_SECONDS", 1.0)  # what is stopped does not mind being asked to end
    count_up(db_server, 800)
    logs = take_logs(db_server, tmp_path / "logs")
    with servers.start(tmp_path / "target", db_server.flavour) as target:
        stopper = threading.Thread(target=_stop_client, args=(target,))
        stopper.start()
        with pytest.raises(process.ProcessError, match="made no progress for . s and was ended .its session at the"):
            apply(Replay(logs, FIRST_OFFSET), target, stall_seconds=2)
        stopper.join()
        apply(Replay(logs, FIRST_OFFSET), target)
        assert counted(target) == 800


def _stop_client(target: SandboxServer) -> None:
    connection = target.connect()
    query = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'app' AND TABLE_NAME = 'plain'"
    servers.wait_until(lambda: rows(connection, query) == [(1,)], 30, "the replay to begin")
    (child,) = [child for child in list(process._running) if child.name == "mysql"]
    os.kill(child.pid, signal.SIGSTOP)
    servers.wait_until(lambda: child.stderr is not None and not servers.is_alive(child.pid), 60, "its end")


def test_a_statement_that_takes_long_is_no_stall_and_one_that_waits_for_a_lock_is_ended(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path
) -> None:
    run(db_server, "CREATE DATABASE app", "CREATE TABLE app.t (a INT)")
    run(db_server, "SET SESSION binlog_format = STATEMENT", "INSERT INTO app.t SELECT SLEEP(5)")
    run(db_server, "ALTER TABLE app.t ADD COLUMN b INT")
    logs = take_logs(db_server, tmp_path / "logs")
    apply(Replay(logs, FIRST_OFFSET, transactions(logs[0])[2].end), restore_target, stall_seconds=2)
    assert run(restore_target, "SELECT a FROM app.t") == [(0,)]
    holder = restore_target.connect(autocommit=False)
    rows(holder, "SELECT * FROM app.t")
    with pytest.raises(BackupError, match="Lock wait timeout exceeded") as caught:
        apply(Replay(logs, FIRST_OFFSET), restore_target, stall_seconds=2)
    assert not isinstance(caught.value, PermanentError)
    holder.close()
    apply(Replay(logs, FIRST_OFFSET), restore_target)
    assert run(restore_target, "SELECT a, b FROM app.t") == [(0, None)]
