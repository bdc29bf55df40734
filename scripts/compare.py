"""What can be observed of databases and accounts, and the differences between two such observations.

Rows are compared by the values of every column, also generated and invisible ones, in any order: the server hashes each
row and adds the hashes up, so that not a row travels. CHECKSUM TABLE is no use: with a VIRTUAL column it gives two
answers for the same data.
"""

import re
from collections.abc import Sequence
from typing import Any

import MySQLdb

SYSTEM_USERS = ("root", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "PUBLIC")

Snapshot = dict[str, dict[str, Any]]

_BINARY = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector")
_SPATIAL = ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon")
_SPATIAL_TOO = ("geometrycollection", "geomcollection")
_UNSTABLE = ("created", "last_altered")  # columns of SHOW CREATE that tell when, not what


def rows(connection: Any, statement: str, arguments: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
    """Run one statement and return all of its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return list(cursor.fetchall())


def quoted(name: str) -> str:
    """A name as an identifier in a statement."""
    return "`" + name.replace("`", "``") + "`"


def snapshot(connection: Any, databases: Sequence[str], *, accounts: bool = True) -> Snapshot:
    """Everything observable, by kind and name: `{"table": {"db.name": {...}}, "trigger": {...}, ...}`.

    The session of the connection is changed (time zone, sql_mode, names): don't go on with it.
    """
    rows(connection, "SET NAMES utf8mb4")
    settings = (
        "SET SESSION time_zone = '+00:00', sql_mode = '', group_concat_max_len = 1000000, sql_quote_show_create = 1"
    )
    rows(connection, settings)
    found: Snapshot = {
        "database": {},
        "table": {},
        "view": {},
        "sequence": {},
        "trigger": {},
        "routine": {},
        "event": {},
        "library": {},
        "account": {},
    }
    for database in databases:
        _database(connection, found, database)
    if accounts:
        _accounts(connection, found)
    return found


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """What differs, one readable sentence each; empty when nothing does."""
    told: list[str] = []
    for kind in before:
        for name in sorted(before[kind].keys() | after[kind].keys()):
            if name not in after[kind]:
                told.append(f"{kind} {name} is missing")
            elif name not in before[kind]:
                told.append(f"{kind} {name} is new")
            else:
                told += [f"{kind} {name}: {words}" for words in _changes(before[kind][name], after[kind][name])]
    return told


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [
        f"{key} was {_short(before.get(key))}, is {_short(after.get(key))}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 1500 else f"{text[:1500]}... ({len(text)} characters)"


def _is_mariadb(connection: Any) -> bool:
    return "mariadb" in rows(connection, "SELECT VERSION()")[0][0].lower()


def _shown(connection: Any, what: str, name: str) -> dict[str, Any]:
    """SHOW CREATE of one thing, by column; without the times at which it was made."""
    with connection.cursor(MySQLdb.cursors.DictCursor) as cursor:
        cursor.execute(f"SHOW CREATE {what} {name}")
        (row,) = cursor.fetchall()
    return {key: value for key, value in row.items() if key.lower() not in _UNSTABLE}


def _database(connection: Any, found: Snapshot, database: str) -> None:
    statement = "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
    for charset, collation in rows(connection, f"{statement} WHERE SCHEMA_NAME = %s", (database,)):
        found["database"][database] = {"charset": charset, "collation": collation}
    rows(connection, f"USE {quoted(database)}")
    columns = _columns(connection, database)
    tables = "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s"
    for name, kind in rows(connection, tables, (database,)):
        if kind == "VIEW":
            found["view"][f"{database}.{name}"] = _view(connection, name, columns.get(name, []))
        elif kind == "SEQUENCE":
            shown = _shown(connection, "SEQUENCE", quoted(name))
            found["sequence"][f"{database}.{name}"] = {
                **shown,
                "state": rows(connection, f"SELECT * FROM {quoted(name)}"),  # noqa: S608 (names are quoted)
            }
        else:
            found["table"][f"{database}.{name}"] = _table(connection, name, kind, columns[name])
    _programs(connection, found, database)


def _columns(connection: Any, database: str) -> dict[str, list[tuple[Any, ...]]]:
    """Of each table: name, type, nullability, default and extra (generated, invisible) of its columns, in order."""
    by_table: dict[str, list[tuple[Any, ...]]] = {}
    for table, *column in rows(
        connection,
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, COLLATION_NAME,"
        " COLUMN_COMMENT FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME, ORDINAL_POSITION",
        (database,),
    ):
        by_table.setdefault(table, []).append(tuple(column))
    return by_table


def _table(connection: Any, name: str, kind: str, columns: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    definition = _shown(connection, "TABLE", quoted(name))["Create Table"]
    types = {quoted(column[0]): str(column[1]).lower() for column in columns}
    source = quoted(name)
    if kind == "SYSTEM VERSIONED":
        # the history, too; ROW_START and ROW_END are columns that are not listed unless they were named
        source += " FOR SYSTEM_TIME ALL"
        if "GENERATED ALWAYS AS ROW START" not in definition:
            types |= {"ROW_START": "timestamp", "ROW_END": "timestamp"}
    return {
        # MySQL adds the character set to a column that names its collation once it has read its own text again
        "definition": re.sub(r" CHARACTER SET \w+ COLLATE ", " COLLATE ", definition),
        "columns": tuple(columns),
        "rows": _content(connection, source, types),
    }


def _view(connection: Any, name: str, columns: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    seen: dict[str, Any] = {**_shown(connection, "VIEW", quoted(name)), "columns": tuple(columns)}
    types = {quoted(column[0]): str(column[1]).lower() for column in columns}
    try:
        seen["rows"] = _content(connection, quoted(name), types)
    except MySQLdb.Error as error:  # such as a definer whose account is gone
        seen["rows"] = f"error {error.args[0]}"
    return seen


def _content(connection: Any, source: str, types: dict[str, str]) -> dict[str, Any]:
    """The number of rows, and the sums of two pieces of each row's SHA-256."""
    values = ", ".join(f"COALESCE({_value(column, kind)}, '~')" for column, kind in types.items()) or "''"
    piece = "SUM(CAST(CONV(SUBSTRING(h, {}, 15), 16, 10) AS UNSIGNED))"
    row = f"SELECT SHA2(CONCAT_WS(',', {values}), 256) AS h FROM {source}"  # noqa: S608 (names are quoted)
    statement = f"SELECT COUNT(*), {piece.format(1)}, {piece.format(16)} FROM ({row}) AS hashed"  # noqa: S608 (names are quoted)
    ((count, first, second),) = rows(connection, statement)
    return {"count": count, "hash": f"{int(first or 0):x}-{int(second or 0):x}"}


def _value(column: str, kind: str) -> str:
    """An expression whose value is a column's, exactly, as ASCII or NULL."""
    if kind in _BINARY or kind in _SPATIAL or kind in _SPATIAL_TOO:
        return f"SHA2({column}, 256)"
    if kind == "bit":
        return f"HEX(CAST({column} AS UNSIGNED))"
    if kind in ("float", "double"):
        return f"HEX(CAST(CAST({column} AS DOUBLE) AS CHAR))"  # a FLOAT is shown with six digits only
    if kind in ("enum", "set"):
        return f"CONCAT({column} + 0, '.', HEX({column}))"  # the empty string may be a member or number 0
    return f"SHA2(CAST(CAST({column} AS CHAR CHARACTER SET utf8mb4) AS BINARY), 256)"


def _programs(connection: Any, found: Snapshot, database: str) -> None:
    triggers = (
        "SELECT TRIGGER_NAME, ACTION_ORDER, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION"
        " FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s"
    )
    for name, order, *what in rows(connection, triggers, (database,)):
        shown = _shown(connection, "TRIGGER", quoted(name))
        found["trigger"][f"{database}.{name}"] = {**shown, "order": order, "what": tuple(what)}
    routines = (
        "SELECT ROUTINE_TYPE, ROUTINE_NAME, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION,"
        " SECURITY_TYPE, DEFINER, ROUTINE_COMMENT, SQL_DATA_ACCESS, IS_DETERMINISTIC"
        " FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s"
    )
    for kind, name, *attributes in rows(connection, routines, (database,)):
        shown = _shown(connection, kind, quoted(name))
        found["routine"][f"{database}.{name} ({kind.lower()})"] = {**shown, "attributes": tuple(attributes)}
    events = (
        "SELECT EVENT_NAME, DEFINER, TIME_ZONE, STATUS, STARTS, ENDS"
        " FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s"
    )
    for name, *attributes in rows(connection, events, (database,)):
        shown = _shown(connection, "EVENT", quoted(name))
        found["event"][f"{database}.{name}"] = {**shown, "attributes": tuple(map(str, attributes))}
    if not _is_mariadb(connection):
        libraries = "SELECT LIBRARY_NAME FROM information_schema.LIBRARIES WHERE LIBRARY_SCHEMA = %s"
        for (name,) in rows(connection, libraries, (database,)):
            found["library"][f"{database}.{name}"] = _shown(connection, "LIBRARY", quoted(name))


def _accounts(connection: Any, found: Snapshot) -> None:
    mariadb = _is_mariadb(connection)
    if not mariadb:
        rows(connection, "SET SESSION print_identified_with_as_hex = ON")
    for user, host in rows(connection, "SELECT User, Host FROM mysql.user"):
        if user in SYSTEM_USERS:
            continue
        account = quoted(user) + (f"@{quoted(host)}" if host else "")
        is_role = mariadb and not host
        found["account"][account] = {
            "definition": None if is_role else rows(connection, f"SHOW CREATE USER {account}")[0][0],
            "grants": sorted(_sorted_privileges(grant) for (grant,) in rows(connection, f"SHOW GRANTS FOR {account}")),
        }


def _sorted_privileges(grant: str) -> str:
    """A GRANT with its privileges in order: the server lists those on columns in the order in which they came."""
    match = re.fullmatch(r"GRANT (.+?) (ON .+)", grant, re.DOTALL)
    if match is None or "(" not in match[1]:
        return grant
    privileges = []
    for privilege, columns in re.findall(r"([A-Z][A-Z ]*)(\([^)]*\))?", match[1]):
        names = sorted(columns.strip("()").split(", "))
        privileges.append(f"{privilege.strip()} ({', '.join(names)})" if columns else privilege)
    return f"GRANT {', '.join(sorted(privileges))} {match[2]}"
