"""Binary logs of a server that a test wrote to, and a workload that holds what is easy to replay wrongly."""

import shutil
from pathlib import Path
from typing import Any

import compare
from spoqplus_backup.core.mysql.binlog_transactions import Transaction, Transactions
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support.servers import databases, rows

FIRST_OFFSET = 4


def take_logs(server: SandboxServer, folder: Path) -> tuple[Path, ...]:
    """Copies of all closed logs, after the open one was closed."""
    connection = server.connect()
    rows(connection, "FLUSH BINARY LOGS")
    names = [row[0] for row in rows(connection, "SHOW BINARY LOGS")][:-1]
    connection.close()
    folder.mkdir(exist_ok=True)
    for name in names:
        shutil.copy(server.datadir / name, folder / name)
    return tuple(folder / name for name in names)


def transactions(path: Path) -> list[Transaction]:
    with path.open("rb") as file:
        return list(Transactions(file.read, str(path)))


def content(server: SandboxServer, without: frozenset[str] = frozenset()) -> compare.Snapshot:
    """Everything in the databases that are not the server's own, nor a replay's."""
    connection = server.connect()
    names = [name for name in databases(connection) if name != "spoqplus_restore" and name not in without]
    found = compare.snapshot(connection, names, accounts=False)
    connection.close()
    return found


def write_everything(server: SandboxServer) -> None:
    """Transactions of every kind, some with texts that look like what mysqlbinlog prints."""
    connection = server.connect()
    mariadb = server.flavour == "mariadb"
    evil = "'\n# at 4\nCOMMIT/*!*/;\n/*!*/;\nDELIMITER ;\n# at 367\nROLLBACK/*!*/;\nBINLOG ''\n'"  # raw newlines

    def run(statement: str, *arguments: Any) -> None:
        rows(connection, statement, arguments or None)

    run("CREATE DATABASE app")
    run("USE app")
    run("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, body LONGTEXT, at TIMESTAMP(6) NULL)")
    run("INSERT INTO t (body) VALUES ('one'), ('two')")
    run("BEGIN")
    run(f"INSERT INTO t (body) VALUES ({evil})")
    run("SAVEPOINT `s``\n# at 5`")
    run("UPDATE t SET body = '3'")
    run("ROLLBACK TO `s``\n# at 5`")
    run("COMMIT")
    body = "-- COMMIT/*!*/;\n# /*!*/;\n-- DELIMITER ;\n# at 123\nSELECT 'a\n/*!*/;\nDELIMITER ;\n# at 5\n'; SELECT 2;"
    run(f"CREATE PROCEDURE p() BEGIN {body} END")
    run("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW BEGIN SET NEW.body = CONCAT(NEW.body, '!'); END")
    run(f"INSERT INTO t (body) VALUES ({evil}) # at 123\n -- COMMIT/*!*/;")
    run("SET binlog_format = STATEMENT")
    run(f"INSERT INTO t (body) VALUES ({evil})")
    run("SET time_zone = '+05:30'")
    run("SET @u = 5")
    run("INSERT INTO t (body, at) VALUES (CONCAT(@u, RAND(), LAST_INSERT_ID()), NOW(6))")
    run("CREATE TEMPORARY TABLE tmp (a INT)")
    run("INSERT INTO tmp VALUES (1), (2)")
    run("INSERT INTO t (body) SELECT a FROM tmp")
    run("DROP TEMPORARY TABLE tmp")
    run("SET sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'")
    run("INSERT INTO t (body) VALUES ('\\\\')")
    run("SET sql_mode = DEFAULT")
    run("SET NAMES latin1")
    connection.query(b"INSERT INTO t (body) VALUES ('caf\xe9'), ('x')")
    run("SET NAMES utf8mb4")
    run("SET binlog_format = ROW")
    run("CREATE TABLE u (a INT) # at 12\n COMMENT='# at 4'")
    run("INSERT INTO u VALUES (1)\n# at 123\n")
    run("CREATE TABLE copied AS SELECT * FROM t")
    run("ALTER TABLE u ADD COLUMN b INT DEFAULT 7")
    run("CREATE VIEW v AS SELECT id FROM t")
    run("RENAME TABLE u TO w")
    daily = "ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01'"
    run(f"CREATE DEFINER = nobody@`10.%` EVENT awake {daily} DO DELETE FROM t -- DISABLE")
    run(f"CREATE EVENT asleep {daily} DISABLE COMMENT 'ENABLE it' DO DELETE FROM t")
    run(f"CREATE EVENT app.tired {daily} DO DELETE FROM t")
    run("ALTER EVENT tired DISABLE")
    run("FLUSH BINARY LOGS")
    run("INSERT INTO w (a) VALUES (2)")
    if mariadb:
        run("SET GLOBAL log_bin_compress = ON")
        run("INSERT INTO t (body) VALUES (REPEAT('z', 10000))")
        run("CREATE TABLE long_one (a INT COMMENT %s)", "y" * 500)
        run("SET GLOBAL log_bin_compress = OFF")
        run("CREATE SEQUENCE sq")
        run("SELECT NEXT VALUE FOR sq")
        run("SET gtid_domain_id = 7")
        run("INSERT INTO w (a) VALUES (7)")
        run("SET gtid_domain_id = 0")
    else:
        run("SET binlog_transaction_compression = ON")
        run("INSERT INTO t (body) VALUES (REPEAT('z', 10000))")
        run("SET binlog_transaction_compression = OFF")
        run("SET binlog_rows_query_log_events = ON")
        run(f"INSERT INTO t (body) VALUES ({evil})")
        run("SET GTID_NEXT = 'AUTOMATIC:tagged'")
        run("INSERT INTO w (a) VALUES (3)")
        run("SET GTID_NEXT = 'AUTOMATIC'")
    run("CREATE TABLE my (a INT) ENGINE = MyISAM")
    run("INSERT INTO my VALUES (1), (2)")
    _xa(server)
    run("DELETE FROM w WHERE a = 1")
    connection.close()


def _xa(server: SandboxServer) -> None:
    """An XA transaction that another one comes between, and one that is rolled back after it was prepared."""
    for number, end in enumerate(("COMMIT", "ROLLBACK")):
        connection = server.connect()
        name = f"'x\n{number}','b',3"
        rows(connection, f"XA START {name}")
        rows(connection, "INSERT INTO app.t (body) VALUES ('xa')")
        rows(connection, f"XA END {name}")
        rows(connection, f"XA PREPARE {name}")
        if server.flavour == "mysql":  # MariaDB keeps a session with a prepared transaction to itself
            rows(connection, "INSERT INTO app.t (body) VALUES ('between')")
        else:
            other = server.connect()
            rows(other, "INSERT INTO app.t (body) VALUES ('between')")
            other.close()
        rows(connection, f"XA {end} {name}")
        connection.close()


def count_up(server: SandboxServer, number: int, *, fresh: bool = True) -> None:
    """So many transactions: each moves a counter on and adds a row to a table without a key."""
    connection = server.connect(autocommit=False)
    if fresh:
        rows(connection, "CREATE DATABASE app")
        rows(connection, "CREATE TABLE app.counter (id INT PRIMARY KEY, n INT NOT NULL)")
        rows(connection, "INSERT INTO app.counter VALUES (1, 0)")
        rows(connection, "CREATE TABLE app.plain (n INT)")
    rows(connection, "USE app")
    for _ in range(number):
        rows(connection, "UPDATE counter SET n = n + 1")
        rows(connection, "INSERT INTO plain SELECT n FROM counter")
        connection.commit()
    connection.close()


def counted(server: SandboxServer) -> int:
    """How many transactions of `count_up` the server has; each exactly once."""
    connection = server.connect()
    try:
        exists = rows(connection, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_NAME = 'plain'")
        if exists == [(0,)]:
            return 0
        ((number, distinct),) = rows(connection, "SELECT COUNT(*), COUNT(DISTINCT n) FROM app.plain")
        ((counter,),) = rows(connection, "SELECT n FROM app.counter")
    finally:
        connection.close()
    assert number == distinct == counter
    return int(number)
