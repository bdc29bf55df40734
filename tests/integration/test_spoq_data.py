"""The data set of the demo and the benchmark: whole, the same every time, hard enough to compress."""

import importlib.util
import random
import sys
import zlib
from types import ModuleType

import pytest

from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support import servers

TABLES = {
    "members": "id",
    "member_faces": "id",
    "face_recognition_logs": "id",
    "payments": "id",
    "products": "id",
    "reservations": "id",
    "sessions": "id",
}


@pytest.fixture(scope="module")
def spoq_data() -> ModuleType:
    spec = importlib.util.spec_from_file_location("spoq_data", servers.PROJECT / "scripts" / "spoq_data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["spoq_data"] = module
    spec.loader.exec_module(module)
    return module


def contents(server: SandboxServer) -> dict[str, list[tuple[object, ...]]]:
    connection = server.connect(database="spoqplus")
    found = {name: servers.rows(connection, f"SELECT * FROM {name} ORDER BY {key}") for name, key in TABLES.items()}
    connection.close()
    return found


@pytest.mark.integration
def test_both_vendors_get_the_same_rows_every_time(
    spoq_data: ModuleType, mariadb_server: SandboxServer, mysql_server: SandboxServer
) -> None:
    counts = spoq_data.load(mariadb_server.connect, 2)
    on_mariadb = contents(mariadb_server)
    assert {name: len(rows) for name, rows in on_mariadb.items()} == counts
    spoq_data.load(mariadb_server.connect, 2)
    assert contents(mariadb_server) == on_mariadb
    spoq_data.load(mysql_server.connect, 2)
    assert contents(mysql_server) == on_mariadb


@pytest.mark.integration
def test_no_row_is_an_orphan_and_everything_else_is_there(spoq_data: ModuleType, db_server: SandboxServer) -> None:
    spoq_data.load(db_server.connect, 1)
    connection = db_server.connect(database="spoqplus")
    for child in ("member_faces", "face_recognition_logs", "payments", "sessions", "reservations"):
        orphans = f"SELECT COUNT(*) FROM {child} WHERE member_id NOT IN (SELECT id FROM members)"
        assert servers.rows(connection, orphans) == [(0,)], child
    assert servers.rows(connection, "SELECT COUNT(*) > 100 FROM active_members WHERE faces > 0") == [(1,)]
    servers.rows(
        connection,
        "INSERT INTO payments (member_id, product_id, amount, method, transaction_no, paid_at)"
        " VALUES (1, 1, 50000, 'card', 'new', '2026-02-03')",
    )
    paid = "SELECT last_paid_at = '2026-02-03' FROM members WHERE id = 1"
    assert servers.rows(connection, paid) == [(1,)], "the trigger did not fire"
    servers.rows(connection, "CALL expire_memberships('2030-01-01')")
    assert servers.rows(connection, "SELECT COUNT(*) FROM members WHERE status = 'expired'")[0][0] > 100
    assert servers.rows(connection, "SHOW EVENTS")[0][1] == "purge_sessions"
    connection.close()


def test_encodings_compress_like_real_ones(spoq_data: ModuleType) -> None:
    text = "\n".join(spoq_data.encodings(random.Random(1), 2000)).encode()
    assert 2.0 < len(text) / len(zlib.compress(text, 6)) < 2.7
