"""Replaying binary logs: our two ways beside `mysqlbinlog | mysql`, on the same logs into equal empty servers.

All servers have the options of a production server: durable, with a binary log. Our own ways don't write to that log,
and the applier, whose target is ours until it is done, does not wait for the disk; its time includes the start and the
stop of its server. `plain-pipe` is what people type; `tuned-pipe` is the same with the disk not waited for and without
the binary log, to tell what of the difference that alone makes.
"""

import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import spoq_data
from bench import report
from bench.measure import BenchError
from bench.world import PROJECT, World, content, say
from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql import client
from spoqplus_backup.core.mysql.sandbox import SandboxServer, ServerPrograms, stop_leftover
from spoqplus_backup.core.recovery.applier import apply_logs
from spoqplus_backup.core.recovery.replay import Options, Replay, replay

TRANSACTIONS_A_MB = 40  # of the data set: 40,000 beside 1,000 MB
WRITERS = 4
MEMORY_MIB = 512
START = 4
MYSQL = PROJECT / "build" / "mysql-9.7" / "bin"
TUNED_PIPE = "tuned-pipe"
NOT_DURABLE = {"innodb-flush-log-at-trx-commit": "2", "sync-binlog": "0"}
TABLES = ("visits", "payments")

Content = Mapping[str, tuple[int, int]]


def rows(world: World, runs: int) -> Iterator[report.Row]:
    """The medians, for MariaDB, and for MySQL where its programs are."""
    flavours: list[Flavour] = ["mariadb", *(["mysql"] if (MYSQL / "mysqld").exists() else [])]  # type: ignore[list-item]
    for flavour in flavours:
        logs, expected = _logs(world, flavour)
        seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        for number in range(1, runs + 1):
            for name, contestant in CONTESTANTS.items():
                taken = contestant(world, flavour, logs, expected)
                seconds[name].append(taken)
                say(f"  {name} on {flavour}: {taken:.1f} s, run {number} of {runs}")
        for peer in (report.PLAIN_PIPE, TUNED_PIPE):
            theirs = median(seconds[peer])
            for name in (APPLIER, MYSQLBINLOG):
                yield report.row("replay", peer, f"{flavour}_{name}_seconds", median(seconds[name]), theirs)


def _transactions(world: World) -> int:
    return world.megabytes * TRANSACTIONS_A_MB


def table(world: World, found: list[report.Row]) -> str:
    """The rows for people."""
    lines = [f"replay of {_transactions(world)} transactions, wall time, s (ours by theirs)"]
    lines += [f"  {row.metric:32}{row.ours:10.1f}  {row.peer}{row.theirs:10.1f} ({row.ratio})" for row in found]
    return "\n".join(lines)


# ---- logs -----------------------------------------------------------------------------------------------------------


def _logs(world: World, flavour: Flavour) -> tuple[tuple[Path, ...], Content]:
    """The logs of a server that several sessions wrote to, made once, and what it holds."""
    folder = world.folder / f"replay-{flavour}"
    done, count = folder / "complete", _transactions(world)
    if not done.exists() or done.read_text() != str(count):
        stop_leftover(folder)
        shutil.rmtree(folder, ignore_errors=True)
        say(f"writing {count} transactions to {flavour}")
    with _server(folder, flavour, {}) as source:
        if not done.exists():
            _write(source, count)
            done.write_text(str(count))
        held = content(source)
    names = sorted(path.name for path in (folder / "data").glob("binlog.0*"))
    return (folder / "data" / names[0],), held


def _write(source: SandboxServer, count: int) -> None:
    with closing(source.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {spoq_data.DATABASE}")
        for name in TABLES:
            columns = "id BIGINT PRIMARY KEY AUTO_INCREMENT, member INT, note VARCHAR(200), KEY (member)"
            cursor.execute(f"CREATE TABLE {spoq_data.DATABASE}.{name} ({columns})")
    errors: list[Exception] = []
    threads = [threading.Thread(target=_session, args=(source, number, count, errors)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise BenchError(f"A session could not write: {errors[0]}.")
    with closing(source.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("FLUSH BINARY LOGS")


def _session(source: SandboxServer, number: int, count: int, errors: list[Exception]) -> None:
    rng = random.Random(number)
    table = TABLES[number % len(TABLES)]
    insert = f"INSERT INTO {table} (member, note) VALUES (%s, %s)"  # noqa: S608 (a name of our own)
    update = f"UPDATE {table} SET note = CONCAT('q', LEFT(note, 90)) WHERE id = %s"  # noqa: S608
    try:
        with closing(source.connect(autocommit=False, db=spoq_data.DATABASE)) as connection:
            for _ in range(count // WRITERS):
                _transaction(connection, rng, insert, update)
    except Exception as error:  # noqa: BLE001 (raised again by the thread that waits)
        errors.append(error)


def _transaction(connection: Any, rng: random.Random, insert: str, update: str) -> None:
    with connection.cursor() as cursor:
        values = [(rng.randrange(5000), "x" * rng.randrange(50, 150)) for _ in range(3)]
        cursor.executemany(insert, values)
        cursor.execute(update, (cursor.lastrowid,))
    connection.commit()


# ---- contestants ----------------------------------------------------------------------------------------------------


def _by_applier(world: World, flavour: Flavour, logs: tuple[Path, ...], expected: Content) -> float:
    with _target(world, flavour) as (folder, start):
        start({}).stop()
        world.clean()
        started = time.monotonic()
        apply_logs(Replay(logs, START), flavour, folder / "data", start)
        seconds = time.monotonic() - started
        with start({}) as target:
            _compare(APPLIER, flavour, expected, target)
    return seconds


def _by_mysqlbinlog(world: World, flavour: Flavour, logs: tuple[Path, ...], expected: Content) -> float:
    with _target(world, flavour) as (_, start), start({}) as target:
        world.clean()
        login = DatabaseLogin(host=None, user="root", password="", socket=str(target.socket))
        result = replay(Replay(logs, START), login, flavour, _client(flavour), Options("bench", binary_log=False))
        _compare(MYSQLBINLOG, flavour, expected, target)
    return result.seconds


def _by_pipe(world: World, flavour: Flavour, logs: tuple[Path, ...], expected: Content) -> float:
    return _pipe(world, flavour, logs, expected, {}, [])


def _by_tuned_pipe(world: World, flavour: Flavour, logs: tuple[Path, ...], expected: Content) -> float:
    return _pipe(world, flavour, logs, expected, NOT_DURABLE, ["--disable-log-bin"])


def _pipe(
    world: World,
    flavour: Flavour,
    logs: tuple[Path, ...],
    expected: Content,
    server: Mapping[str, str],
    options: list[str],
) -> float:
    with _target(world, flavour) as (_, start), start(server) as target:
        world.clean()
        reading, applying = (client.find(name, _client(flavour), flavour).path for name in ("mysqlbinlog", "mysql"))
        started = time.monotonic()
        binlog = subprocess.Popen(
            [reading, "--no-defaults", *options, *map(str, logs)],
            stdout=subprocess.PIPE,
        )
        mysql = [applying, "--no-defaults", f"--socket={target.socket}", "--user=root", "--binary-mode"]
        subprocess.run(mysql, stdin=binlog.stdout, check=True)
        if binlog.wait():
            raise BenchError(f"mysqlbinlog ended with status {binlog.returncode}.")
        seconds = time.monotonic() - started
        _compare(report.PLAIN_PIPE, flavour, expected, target)
    return seconds


APPLIER = "applier"
MYSQLBINLOG = "mysqlbinlog"
CONTESTANTS: Mapping[str, Callable[[World, Flavour, tuple[Path, ...], Content], float]] = {
    APPLIER: _by_applier,
    MYSQLBINLOG: _by_mysqlbinlog,
    report.PLAIN_PIPE: _by_pipe,
    TUNED_PIPE: _by_tuned_pipe,
}


@contextmanager
def _target(world: World, flavour: Flavour) -> Iterator[tuple[Path, Callable[[Mapping[str, str]], SandboxServer]]]:
    folder = world.folder / "replay-target"
    stop_leftover(folder)
    shutil.rmtree(folder, ignore_errors=True)
    yield folder, lambda options: _server(folder, flavour, options)
    shutil.rmtree(folder)


def _server(folder: Path, flavour: Flavour, options: Mapping[str, str]) -> SandboxServer:
    programs = ServerPrograms.mariadb() if flavour == "mariadb" else ServerPrograms.mysql(MYSQL)
    return SandboxServer.start(folder, programs, options=options, memory_mib=MEMORY_MIB)


def _client(flavour: Flavour) -> Path | None:
    return MYSQL if flavour == "mysql" else None


def _compare(name: str, flavour: Flavour, expected: Content, target: SandboxServer) -> None:
    found = content(target)
    if found != expected:
        raise BenchError(f"What {name} replayed on {flavour} is {found}, not {expected}.")
