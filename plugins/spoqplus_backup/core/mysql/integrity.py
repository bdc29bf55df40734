"""What is wrong inside a server: damaged tables, rows without their parent, views and programs that can't run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.row_hash import shape
from spoqplus_backup.core.mysql.server import Connection, StatementError, quoted
from spoqplus_backup.core.process import check_cancelled

SAMPLES = 5
_NO_FAULT = frozenset({1044, 1142, 1143, 1370})  # this login may not, which says nothing of the view
_NO_DEFINER = 1449  # "The user specified as a definer does not exist": told of every kind at once
_SOUND = ("ok", "table is already up to date")


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key. `columns` and `parent_columns` belong together by their order."""

    database: str
    table: str
    name: str
    columns: tuple[str, ...]
    parent_database: str
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True)
class Orphans:
    """Rows whose foreign key leads nowhere: how many, and the keys of the first."""

    count: int
    keys: tuple[str, ...]


def tables(connection: Connection, databases: Sequence[str]) -> list[tuple[str, str]]:
    """Database and name of each table."""
    found = server.objects(connection, databases)
    return [(item.database, item.name) for item in found if item.kind == "table"]


def damage(connection: Connection, database: str, table: str) -> list[str]:
    """What CHECK TABLE has against a table; nothing when its engine can't be checked."""
    found = []
    for _, _, kind, words in connection.rows(f"CHECK TABLE {quoted(database)}.{quoted(table)}"):
        if kind.lower() in ("error", "warning") or (kind.lower() == "status" and words.lower() not in _SOUND):
            found.append(str(words))
    return found


def foreign_keys(connection: Connection, databases: Sequence[str]) -> Iterator[ForeignKey]:
    """The foreign keys of these databases."""
    rows = connection.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, "
        "COLUMN_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE "
        f"WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA IN ({', '.join(['%s'] * len(databases)) or 'NULL'}) "
        "ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
        databases,
    )
    for (database, table, name, parent_database, parent), columns in groupby(rows, lambda row: row[:5]):
        own, theirs = zip(*(row[5:] for row in columns), strict=True)
        yield ForeignKey(database, table, name, own, parent_database, parent, theirs)


def orphans(connection: Connection, key: ForeignKey) -> Orphans:
    """The rows whose parent is missing. A key with a NULL in it leads nowhere by right.

    Raises:
        StatementError: the server can't look, as when the parent's table is gone.
    """
    given = " AND ".join(f"child.{quoted(column)} IS NOT NULL" for column in key.columns)
    pairs = zip(key.columns, key.parent_columns, strict=True)
    partner = " AND ".join(f"parent.{quoted(theirs)} = child.{quoted(own)}" for own, theirs in pairs)
    condition = (
        f"FROM {quoted(key.database)}.{quoted(key.table)} child WHERE {given} AND NOT EXISTS "
        f"(SELECT 1 FROM {quoted(key.parent_database)}.{quoted(key.parent)} parent WHERE {partner})"
    )
    named_by = shape(connection, key.database, key.table).key or key.columns
    columns = ", ".join(f"child.{quoted(column)}" for column in named_by)
    first = connection.rows(f"SELECT {columns} {condition} LIMIT {SAMPLES}")
    count = int(connection.value(f"SELECT COUNT(*) {condition}")) if first else 0
    return Orphans(count, tuple("/".join(map(_shown, row)) for row in first))


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def broken_objects(connection: Connection, databases: Sequence[str]) -> dict[str, str]:
    """What can't be used, `kind database.name` with the server's words.

    A view is broken when a query on it is refused; any program when its definer is no account here. What a program
    refers to shows only when it runs, so no server can tell more.
    """
    found = {}
    for item in server.objects(connection, databases):
        if item.kind != "view":
            continue
        check_cancelled()
        try:
            connection.rows(f"SELECT * FROM {quoted(item.database)}.{quoted(item.name)} LIMIT 0")
        except StatementError as error:
            if error.code not in (_NO_DEFINER, *_NO_FAULT):
                found[f"view {item.database}.{item.name}"] = str(error)
    return found | dict(_without_definer(connection, databases))


def _without_definer(connection: Connection, databases: Sequence[str]) -> Iterator[tuple[str, str]]:
    where = ", ".join(["%s"] * len(databases)) or "NULL"
    accounts = {f"{user}@{host}" for user, host in connection.rows("SELECT User, Host FROM mysql.user")}
    rows = connection.rows(
        "SELECT 'view', TABLE_SCHEMA, TABLE_NAME, DEFINER FROM information_schema.VIEWS "
        f"WHERE SECURITY_TYPE = 'DEFINER' AND TABLE_SCHEMA IN ({where}) UNION ALL "
        "SELECT LOWER(ROUTINE_TYPE), ROUTINE_SCHEMA, ROUTINE_NAME, DEFINER FROM information_schema.ROUTINES "
        f"WHERE SECURITY_TYPE = 'DEFINER' AND ROUTINE_SCHEMA IN ({where}) UNION ALL "
        "SELECT 'trigger', TRIGGER_SCHEMA, TRIGGER_NAME, DEFINER FROM information_schema.TRIGGERS "
        f"WHERE TRIGGER_SCHEMA IN ({where}) UNION ALL "
        "SELECT 'event', EVENT_SCHEMA, EVENT_NAME, DEFINER FROM information_schema.EVENTS "
        f"WHERE EVENT_SCHEMA IN ({where})",
        tuple(databases) * 4,
    )
    for kind, database, name, definer in rows:
        if str(definer) not in accounts and f"{definer}@" not in accounts:  # the latter is a role
            yield f"{kind} {database}.{name}", f"its definer {definer} is no account of this server"
