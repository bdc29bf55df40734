"""Whatever happened, and whatever point is asked for: the restored server is what the server was at that point."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import MySQLdb
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql.binlog_transactions import Transaction, Transactions
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support.archive import log_names, reset, rotate
from support.backups import Site, make_site
from support.servers import empty, next_second, rows, start

pytestmark = pytest.mark.integration

SESSIONS = 3
Content = dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]]
Place = tuple[int, str, int]  # how often the server was reset, a log, an offset in it

# Each session has rows of its own, or they would wait for each other.
numbers = st.integers(0, 9)
session = st.integers(0, SESSIONS - 1)
row_steps = st.tuples(st.sampled_from(["insert", "update", "delete"]), session, numbers)
end_steps = st.tuples(st.sampled_from(["commit", "commit", "rollback"]), session, numbers)
definitions = st.tuples(
    st.sampled_from(["create", "drop", "truncate", "alter", "rename"]), st.just(0), st.integers(0, 2)
)
server_steps = st.tuples(
    st.sampled_from(["rotate", "backup", "restart", "kill", "archive", "reset"]), st.just(0), numbers
)
step = st.one_of(row_steps, row_steps, row_steps, end_steps, end_steps, definitions, server_steps)


@dataclass
class World:
    """A server that things happen to, and what it held after each of its transactions."""

    flavour: Flavour
    directory: Path
    target: SandboxServer
    server: SandboxServer
    site: Site
    resets: int = 0
    states: dict[Place, Content] = field(default_factory=dict)
    sessions: list[Any] = field(default_factory=list)
    backups: list[tuple[Place, str]] = field(default_factory=list)
    past: list[tuple[int, str, Transaction]] = field(default_factory=list)
    """Transactions of logs that a reset removed."""

    def connect(self) -> None:
        self.sessions = [self.server.connect(autocommit=False) for _ in range(SESSIONS)]
        for connection in self.sessions:
            rows(connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    def start(self) -> None:
        self.server = start(self.directory / "server", self.flavour, memory_mib=128)
        self.connect()

    def place(self) -> Place:
        status = "SHOW MASTER STATUS" if self.flavour == "mariadb" else "SHOW BINARY LOG STATUS"
        (name, position, *_) = rows(self.server.connect(), status)[0]
        return self.resets, name, position

    def remember(self) -> None:
        self.states[self.place()] = content(self.server)

    def settle(self, end: str = "COMMIT") -> None:
        """End all transactions: definitions wait for them."""
        for connection in self.sessions:
            rows(connection, end)
            self.remember()

    def do(self, what: str, who: int, number: int) -> None:
        getattr(self, f"do_{what}")(who, number)

    def execute(self, who: int, statement: str) -> None:
        try:
            rows(self.sessions[who], statement)
        except (MySQLdb.IntegrityError, MySQLdb.ProgrammingError):
            rows(self.sessions[who], "ROLLBACK")  # it is there already, or the table is gone

    def do_insert(self, who: int, number: int) -> None:
        self.execute(who, f"INSERT INTO spoqplus.t0 (id, v) VALUES ({number * SESSIONS + who}, {len(self.states)})")

    def do_update(self, who: int, number: int) -> None:
        self.execute(who, f"UPDATE spoqplus.t0 SET v = v + 1 WHERE id = {number * SESSIONS + who}")

    def do_delete(self, who: int, number: int) -> None:
        self.execute(who, f"DELETE FROM spoqplus.t0 WHERE id = {number * SESSIONS + who}")

    def do_commit(self, who: int, number: int) -> None:
        rows(self.sessions[who], "COMMIT")
        self.remember()

    def do_rollback(self, who: int, number: int) -> None:
        rows(self.sessions[who], "ROLLBACK")

    def define(self, *statements: str) -> None:
        self.settle()
        for statement in statements:
            try:
                rows(self.sessions[0], statement)
            except (MySQLdb.OperationalError, MySQLdb.ProgrammingError, MySQLdb.IntegrityError):
                continue  # it is there already, or not there
            self.remember()

    def do_create(self, who: int, number: int) -> None:
        name = f"spoqplus.t{number}"
        self.define(f"CREATE TABLE {name} (id INT PRIMARY KEY, v INT)", f"INSERT INTO {name} (id, v) VALUES (99, 1)")
        self.settle()

    def do_drop(self, who: int, number: int) -> None:
        self.define(f"DROP TABLE spoqplus.t{number}")

    def do_truncate(self, who: int, number: int) -> None:
        self.define(f"TRUNCATE spoqplus.t{number}")

    def do_alter(self, who: int, number: int) -> None:
        self.define(f"ALTER TABLE spoqplus.t{number} ADD c{len(self.states)} INT DEFAULT 7")

    def do_rename(self, who: int, number: int) -> None:
        self.define(f"RENAME TABLE spoqplus.t{number} TO spoqplus.t{(number + 1) % 3}")

    def do_rotate(self, who: int, number: int) -> None:
        rotate(self.server)

    def do_backup(self, who: int, number: int) -> None:
        place = self.place()
        self.backups.append((place, self.site.back_up().set))  # while transactions are open

    def do_archive(self, who: int, number: int) -> None:
        self.site.archive()

    def do_restart(self, who: int, number: int) -> None:
        self.settle("ROLLBACK")
        self.server.stop()
        self.start()

    def do_kill(self, who: int, number: int) -> None:
        self.server.kill()  # open transactions are lost
        self.start()

    def do_reset(self, who: int, number: int) -> None:
        self.settle()
        self.do_archive(0, 0)
        self.past += self.transactions()
        next_second()  # a new log that has the name and the size of an old one is known by when it was begun
        reset(self.server)
        self.resets += 1
        self.do_insert(0, 0)
        self.settle()  # so that the first log of the new timeline is not empty
        self.do_backup(0, 0)

    def transactions(self) -> list[tuple[int, str, Transaction]]:
        """Those of the logs that the server has now."""
        found = []
        for name in log_names(self.server):
            with (self.server.datadir / name).open("rb") as file:
                found += [(self.resets, name, one) for one in Transactions(file.read, name)]
        return found


def content(server: SandboxServer) -> Content:
    connection = server.connect()
    found: Content = {}
    for (table,) in rows(connection, "SHOW TABLES FROM spoqplus"):
        columns = rows(connection, f"SHOW COLUMNS FROM spoqplus.{table}")
        found[table] = tuple(row[0] for row in columns), rows(connection, f"SELECT * FROM spoqplus.{table} ORDER BY 1")
    connection.close()
    return found


@pytest.fixture(params=["mariadb", "mysql"], scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, ...]]:
    target = request.getfixturevalue(f"{request.param}_target")
    directory = tmp_path_factory.mktemp(f"any-point-{request.param}")
    server = start(directory / "server", request.param, memory_mib=128)
    holder = [server]
    yield request.param, directory, target, holder
    holder[0].stop()


@pytest.mark.timeout(900)
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(step, min_size=12, max_size=30), data=st.data())
def test_any_point(place: tuple[Any, ...], steps: list[tuple[str, int, int]], data: st.DataObject) -> None:
    flavour, directory, target, holder = place
    empty(holder[0])
    number = sum(1 for _ in directory.iterdir())
    setup = holder[0].connect()
    rows(setup, "CREATE DATABASE spoqplus")
    rows(setup, "CREATE TABLE spoqplus.t0 (id INT PRIMARY KEY, v INT)")
    world = World(flavour, directory, target, holder[0], make_site(directory / f"site{number}", holder[0], target))
    world.connect()
    world.do_backup(0, 0)
    world.remember()
    try:
        for one in steps:
            world.do(*one)
        world.do_insert(0, 5)
        world.settle()
        world.do_archive(0, 0)
    finally:
        holder[0] = world.server
        for connection in world.sessions:
            connection.close()  # or the next example would wait for their locks
    check(world, data)


def check(world: World, data: st.DataObject) -> None:
    """Choose a transaction that a backup and its logs lead to, and go there in one of three ways."""
    everything = world.past + world.transactions()
    reachable = [
        number
        for number, (resets, name, one) in enumerate(everything)
        if any(place[0] == resets and (name, one.start) >= place[1:] for place, _ in world.backups)
    ]
    goal = data.draw(st.sampled_from(reachable), label="transaction")
    how = data.draw(st.sampled_from(["to_gtid", "before_gtid", "to_time"]), label="how")
    resets, name, one = everything[goal]
    if how == "to_time":
        text = one.at.isoformat()
        same = [number for number in range(len(everything)) if everything[number][0] == resets]
        last = next((number - 1 for number in same if everything[number][2].at > one.at), same[-1])
    else:
        text = str(one.gtid)
        last = goal if how == "to_gtid" else goal - 1
    backup = "latest"
    if resets < world.resets:  # a reset server uses its GTIDs once more
        backup = [made for place, made in world.backups if place <= (resets, name, one.start)][-1]
    empty(world.target)
    plan = world.site.restore(**{how: text}, backup=backup)
    note(f"{how} {text} in {name}, from {plan.backup}, {plan.replay}")
    end_resets, end_name, end = everything[last]
    assert content(world.target) == world.states[end_resets, end_name, end.end]
