"""What a running server is, holds and allows: read through one connection, nothing is changed."""

import contextlib
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.manifest import DumpObject, Flavour, ObjectCounts

SYSTEM_DATABASES = ("mysql", "information_schema", "performance_schema", "sys")
CONNECT_SECONDS = 20
STREAMED_ROWS = 1000  # are taken at a time
_ACCESS_ERRORS = {1044, 1045, 1049, 1698, 2059}  # refused, no such database, plugin missing: not a passing fault
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")

Row = tuple[Any, ...]


class StatementError(BackupError):
    """The server refused a statement; `code` is its error number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Connection:
    """A connection whose queries return rows and whose errors say which server they come from."""

    def __init__(self, login: DatabaseLogin) -> None:
        import MySQLdb

        self._error = MySQLdb.Error
        self.login = login
        options: dict[str, Any] = {
            "user": login.user,
            "passwd": login.password,
            "charset": "utf8mb4",
            "connect_timeout": CONNECT_SECONDS,
            "autocommit": True,
        }
        if login.socket:
            options["unix_socket"] = login.socket
        else:
            options |= {"host": login.host or "127.0.0.1", "port": login.port}
        tls = {"ca": login.ssl_ca, "cert": login.ssl_cert, "key": login.ssl_key}
        if any(tls.values()):
            options["ssl"] = {name: value for name, value in tls.items() if value}
        try:
            self._connection = MySQLdb.connect(**options)
        except MySQLdb.Error as error:
            raise _connect_error(login, error) from None  # the original holds nothing secret, but says it worse

    def rows(self, statement: str, arguments: Sequence[Any] = ()) -> list[Row]:
        """Run one statement and return all of its rows."""
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(statement, tuple(arguments) or None)
                return list(cursor.fetchall())
            except self._error as error:
                raise self._refused(statement, error) from error

    def named_row(self, statement: str) -> dict[str, Any]:
        """The first row by the names of its columns; empty when there is none."""
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(statement)
                row = cursor.fetchone()
                return dict(zip((column[0] for column in cursor.description), row, strict=True)) if row else {}
            except self._error as error:
                raise self._refused(statement, error) from error

    def raw_rows(self, statement: str) -> list[tuple[bytes | None, ...]]:
        """Run one statement and return its rows as the server sent them: text that may hold any byte."""
        converter, self._connection.converter = self._connection.converter, {}
        try:
            self._connection.query(statement)
            return list(self._connection.store_result().fetch_row(maxrows=0))
        except self._error as error:
            raise self._refused(statement, error) from error
        finally:
            self._connection.converter = converter

    def stream(self, statement: str) -> Generator[Row, None, None]:
        """Run one statement and yield its rows while they come: memory does not grow with them.

        Nothing else can be asked meanwhile. A generator that is closed early reads what is left.
        """
        from MySQLdb.cursors import SSCursor

        try:
            with self._connection.cursor(SSCursor) as cursor:  # its end reads on, and may fail, too
                cursor.execute(statement)
                while rows := cursor.fetchmany(STREAMED_ROWS):
                    yield from rows
        except self._error as error:
            raise self._refused(statement, error) from error

    def execute(self, statement: bytes) -> None:
        """Run one statement that returns no rows, as it is."""
        try:
            self._connection.query(statement)
        except self._error as error:
            raise self._refused(statement[:120].decode("utf-8", "replace"), error) from error

    def _refused(self, statement: str, error: Exception) -> StatementError:
        code = error.args[0] if error.args else 0
        words = f"The server {self.login.address} refused `{_first_words(statement)}`: {_words(error)}"
        return StatementError(words, code)

    def value(self, statement: str, arguments: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        rows = self.rows(statement, arguments)
        return rows[0][0] if rows else None

    def variables(self, *names: str) -> dict[str, str]:
        """Global variables by name; those the server doesn't know are left out."""
        marks = ", ".join(["%s"] * len(names))
        rows = self.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({marks})", names)
        return {str(name).lower(): str(value) for name, value in rows}

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(self._error):  # it may be gone already
            self._connection.close()


def _first_words(statement: str) -> str:
    return " ".join(statement.split())[:120]


def _words(error: Exception) -> str:
    return f"{error.args[1]} (error {error.args[0]})" if len(error.args) > 1 else str(error)


def _connect_error(login: DatabaseLogin, error: Exception) -> BackupError:
    text = f"Can't connect to the database server {login.address} as {login.user}: {_words(error)}."
    if error.args and error.args[0] in _ACCESS_ERRORS:
        return PermanentError(f"{text} Check the login and password of the Airflow connection.")
    return BackupError(f"{text} Check that it runs and can be reached from this worker.")


@contextlib.contextmanager
def connect(login: DatabaseLogin) -> Iterator[Connection]:
    """Connect for the length of a block.

    Raises:
        BackupError: the server can't be reached.
        PermanentError: it refuses this login.
    """
    connection = Connection(login)
    try:
        yield connection
    finally:
        connection.close()


@dataclass(frozen=True)
class ServerFacts:
    """What a server is. `identity` is the same for every way to reach one and the same server."""

    flavour: Flavour
    version_text: str
    version: tuple[int, int, int]
    server_id: int
    uuid: str | None
    log_bin: bool
    identity: str


def facts(connection: Connection) -> ServerFacts:
    """Ask a server what it is."""
    wanted = (
        "version",
        "version_comment",
        "server_id",
        "server_uuid",
        "server_uid",
        "log_bin",
        "hostname",
        "datadir",
        "port",
        "socket",
    )
    got = connection.variables(*wanted)
    text = got["version"]
    flavour: Flavour = "mariadb" if "mariadb" in (text + got.get("version_comment", "")).lower() else "mysql"
    match = _VERSION.search(text.removeprefix("5.5.5-"))
    if match is None:
        raise PermanentError(f"The server {connection.login.address} names a version that is none: {text}.")
    uuid = got.get("server_uuid")
    place = "|".join(got.get(name, "") for name in ("hostname", "datadir", "port", "socket"))
    return ServerFacts(
        flavour=flavour,
        version_text=text,
        version=(int(match[1]), int(match[2]), int(match[3])),
        server_id=int(got["server_id"]),
        uuid=uuid,
        log_bin=got.get("log_bin", "OFF").upper() in ("ON", "1"),
        identity=uuid or place,
    )


def quoted(name: str) -> str:
    """A name as an identifier in a statement."""
    return "`" + name.replace("`", "``") + "`"


def databases(connection: Connection) -> tuple[str, ...]:
    """All databases that are not the server's own, by name."""
    rows = connection.rows("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY SCHEMA_NAME")
    return tuple(str(name) for (name,) in rows if str(name).lower() not in SYSTEM_DATABASES)


def _in(names: Sequence[str]) -> str:
    return ", ".join(["%s"] * len(names)) or "NULL"


def objects(connection: Connection, names: Sequence[str]) -> tuple[DumpObject, ...]:
    """Everything in these databases, as information_schema lists it to this login."""
    where = _in(names)
    found: list[DumpObject] = []
    table_kinds = {"VIEW": "view", "SEQUENCE": "sequence"}
    for database, table, kind in connection.rows(
        f"SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ({where})",
        names,
    ):
        found.append(
            DumpObject.model_validate({"kind": table_kinds.get(kind, "table"), "database": database, "name": table})
        )
    for database, name, table in connection.rows(
        "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_OBJECT_TABLE "
        f"FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA IN ({where})",
        names,
    ):
        found.append(DumpObject(kind="trigger", database=database, name=name, table=table))
    for database, name, kind in connection.rows(
        "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE "
        f"FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA IN ({where})",
        names,
    ):
        routine = "package" if kind.startswith("PACKAGE") else kind.lower()
        found.append(DumpObject.model_validate({"kind": routine, "database": database, "name": name}))
    found += _libraries(connection, names)
    for database, name in connection.rows(
        f"SELECT EVENT_SCHEMA, EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA IN ({where})", names
    ):
        found.append(DumpObject(kind="event", database=database, name=name))
    return tuple(sorted(found, key=lambda item: (item.database, item.kind, item.name)))


def _libraries(connection: Connection, names: Sequence[str]) -> list[DumpObject]:
    """The JavaScript libraries that MySQL has since 9.2; their view in information_schema came with them."""
    if not connection.rows("SHOW TABLES FROM information_schema LIKE 'LIBRARIES'"):
        return []
    statement = (
        f"SELECT LIBRARY_SCHEMA, LIBRARY_NAME FROM information_schema.LIBRARIES WHERE LIBRARY_SCHEMA IN ({_in(names)})"
    )
    return [
        DumpObject(kind="library", database=database, name=name) for database, name in connection.rows(statement, names)
    ]


def counts(found: Sequence[DumpObject]) -> ObjectCounts:
    """How many there are of each kind."""
    kinds = [item.kind for item in found]
    return ObjectCounts(
        databases=len({item.database for item in found}),
        tables=kinds.count("table"),
        views=kinds.count("view"),
        triggers=kinds.count("trigger"),
        routines=sum(kinds.count(kind) for kind in ("function", "procedure", "package", "library")),
        events=kinds.count("event"),
        sequences=kinds.count("sequence"),
    )


def primary_key(connection: Connection, database: str, table: str) -> tuple[str, ...]:
    """The columns of a table's primary key, in its order; empty when it has none."""
    rows = connection.rows(
        "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s "
        "AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX",
        (database, table),
    )
    return tuple(str(name) for (name,) in rows)


def is_versioned(connection: Connection, database: str, table: str) -> bool:
    """Whether a table keeps its rows of the past (MariaDB's system versioning)."""
    found = connection.value(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s "
        "AND TABLE_TYPE = 'SYSTEM VERSIONED'",
        (database, table),
    )
    return bool(found)


def count_rows(connection: Connection, database: str, table: str) -> int:
    """The rows of a table; of a system-versioned one its history too, as a dump has it."""
    history = " FOR SYSTEM_TIME ALL" if is_versioned(connection, database, table) else ""
    return int(connection.value(f"SELECT COUNT(*) FROM {quoted(database)}.{quoted(table)}{history}"))


def data_bytes(connection: Connection, names: Sequence[str]) -> int:
    """The size of the rows of these databases by the server's own estimate, without indexes; bytes."""
    statement = f"SELECT SUM(DATA_LENGTH) FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ({_in(names)})"
    return int(connection.value(statement, names) or 0)


def privileges(connection: Connection) -> dict[str, frozenset[str]]:
    """What this login may do: `*.*` and each `db.*` to its privileges, in capitals, as SHOW GRANTS tells."""
    granted: dict[str, set[str]] = {}
    for (line,) in connection.rows("SHOW GRANTS"):
        match = re.match(r"GRANT (.+?) ON (?:TABLE )?(\S+) TO ", str(line), re.IGNORECASE | re.DOTALL)
        if match:
            names = {name.strip().upper() for name in re.sub(r"\([^)]*\)", "", match[1]).split(",")}
            granted.setdefault(match[2].replace("`", ""), set()).update(names)
    return {scope: frozenset(names) for scope, names in granted.items()}


@contextlib.contextmanager
def definitions_locked(login: DatabaseLogin, flavour: Flavour, seconds: int) -> Iterator[None]:
    """Hold off ALTER, DROP, CREATE and the like while the block runs; reading and writing rows go on.

    MySQL: LOCK INSTANCE FOR BACKUP (BACKUP_ADMIN). MariaDB: BACKUP STAGE up to BLOCK_DDL (RELOAD).

    Raises:
        BackupError: a statement that changes definitions runs for longer than `seconds`.
    """
    statements: Mapping[Flavour, tuple[str, ...]] = {
        "mysql": ("LOCK INSTANCE FOR BACKUP",),
        "mariadb": ("BACKUP STAGE START", "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL"),
    }
    with connect(login) as connection:  # the end of the connection releases the lock
        connection.rows("SET SESSION lock_wait_timeout = %s", (seconds,))
        connection.rows("SET SESSION wait_timeout = 86400")
        for statement in statements[flavour]:
            connection.rows(statement)
        yield
