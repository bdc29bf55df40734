"""What differs between a table as it was at some moment, restored into another schema, and the table as it is now."""

from collections.abc import Sequence
from typing import Any

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.server import Connection, quoted

SAMPLES = 5

_STRINGS = (
    *("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"),
    *("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "vector"),
)
_SPATIAL = (
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
)


class TableDifference(Model):
    """Rows by where they are. `samples` are primary keys of the first rows of each kind that differ.

    Without a primary key rows can't be paired: one that was changed counts as one that is gone and one that is new.
    """

    table: str
    only_restored: int
    """Rows of then that are gone now: what was deleted since."""
    only_current: int
    """Rows that came since."""
    changed: int
    same: int
    key: tuple[str, ...]
    columns_differ: tuple[str, ...] = ()
    """Columns that only one of the two has; they are not compared."""
    samples: dict[str, tuple[str, ...]] = {}


def difference(connection: Connection, database: str, restored: str, table: str) -> TableDifference:
    """Compare `restored`.`table` (as it was) with `database`.`table` (as it is now), on one server.

    Raises:
        PermanentError: one of the two does not exist, or they have no column in common.
    """
    then, now = _columns(connection, restored, table), _columns(connection, database, table)
    for schema, columns in ((restored, then), (database, now)):
        if not columns:
            raise PermanentError(
                f"There is no table {schema}.{table} to compare: it was dropped, or is named otherwise."
            )
    common = [name for name in then if name in now]
    if not common:
        raise PermanentError(
            f"{restored}.{table} and {database}.{table} have no column in common: they can't be compared."
        )
    key = server.primary_key(connection, restored, table)
    if key != server.primary_key(connection, database, table) or not set(key) <= set(common):
        key = ()
    places = f"{quoted(restored)}.{quoted(table)}", f"{quoted(database)}.{quoted(table)}"
    kinds = {name: then[name] for name in common}
    differ = tuple(sorted(set(then) ^ set(now)))
    if key:
        return _by_key(connection, f"{database}.{table}", places, key, kinds, differ)
    return _by_content(connection, f"{database}.{table}", places, kinds, differ)


def _columns(connection: Connection, database: str, table: str) -> dict[str, str]:
    """Name and type of the columns that hold data of their own."""
    rows = connection.rows(
        "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s "
        "AND GENERATION_EXPRESSION = '' OR TABLE_SCHEMA = %s AND TABLE_NAME = %s AND GENERATION_EXPRESSION IS NULL "
        "ORDER BY ORDINAL_POSITION",
        (database, table, database, table),
    )
    return {str(name): str(kind).lower() for name, kind in rows}


def _exact(alias: str, name: str, kind: str) -> str:
    """An expression that is equal only for what is equal to the byte: a collation may call `a` and `A` the same."""
    column = f"{alias}.{quoted(name)}"
    if kind == "json":
        return f"HEX(CAST({column} AS CHAR CHARACTER SET utf8mb4))"
    if kind in _SPATIAL:
        return f"HEX(ST_AsWKB({column}))"
    if kind in _STRINGS:
        return f"HEX({column})"
    return column


def _by_key(
    connection: Connection,
    name: str,
    places: tuple[str, str],
    key: Sequence[str],
    kinds: dict[str, str],
    differ: tuple[str, ...],
) -> TableDifference:
    then, now = places
    on = " AND ".join(f"t.{quoted(column)} = n.{quoted(column)}" for column in key)
    same = " AND ".join(f"{_exact('t', name, kind)} <=> {_exact('n', name, kind)}" for name, kind in kinds.items())
    first = quoted(key[0])
    sources = {
        "only_restored": ("t", f"{then} t LEFT JOIN {now} n ON {on} WHERE n.{first} IS NULL"),
        "only_current": ("n", f"{now} n LEFT JOIN {then} t ON {on} WHERE t.{first} IS NULL"),
        "changed": ("t", f"{then} t JOIN {now} n ON {on} WHERE NOT ({same})"),
    }
    counts = {kind: int(connection.value(f"SELECT COUNT(*) FROM {rest}")) for kind, (_, rest) in sources.items()}
    total = int(connection.value(f"SELECT COUNT(*) FROM {then}"))
    samples = {kind: _sample(connection, alias, key, rest) for kind, (alias, rest) in sources.items() if counts[kind]}
    return TableDifference(
        table=name,
        **counts,
        same=total - counts["only_restored"] - counts["changed"],
        key=tuple(key),
        columns_differ=differ,
        samples=samples,
    )


def _sample(connection: Connection, alias: str, key: Sequence[str], rest: str) -> tuple[str, ...]:
    columns = ", ".join(f"{alias}.{quoted(column)}" for column in key)
    rows = connection.rows(f"SELECT {columns} FROM {rest} ORDER BY {columns} LIMIT {SAMPLES}")
    return tuple(", ".join(map(_shown, row)) for row in rows)


def _shown(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _by_content(
    connection: Connection, name: str, places: tuple[str, str], kinds: dict[str, str], differ: tuple[str, ...]
) -> TableDifference:
    texts = ", ".join(
        f"COALESCE(HEX(CAST({_exact('x', column, kind)} AS CHAR CHARACTER SET utf8mb4)), '-')"
        for column, kind in kinds.items()
    )
    digest = f"SHA2(CONCAT_WS('/', {texts}), 256)"
    then, now = places
    both = f"SELECT {digest} AS d, 1 AS t, 0 AS n FROM {then} x UNION ALL SELECT {digest}, 0, 1 FROM {now} x"
    groups = f"SELECT SUM(t) AS t, SUM(n) AS n FROM ({both}) AS rows_of_both GROUP BY d"
    statement = (
        "SELECT COALESCE(SUM(GREATEST(t - n, 0)), 0), COALESCE(SUM(GREATEST(n - t, 0)), 0), "
        f"COALESCE(SUM(LEAST(t, n)), 0) FROM ({groups}) AS counted"
    )
    ((gone, new, same),) = connection.rows(statement)
    return TableDifference(
        table=name,
        only_restored=int(gone),
        only_current=int(new),
        changed=0,
        same=int(same),
        key=(),
        columns_differ=differ,
    )


def differences(
    connection: Connection, restored: str, tables: Sequence[tuple[str, str]]
) -> tuple[TableDifference, ...]:
    """Compare several tables, each with what was restored into the schema `restored` under its name."""
    found = []
    for database, table in tables:
        there = {(item.database, item.name) for item in server.objects(connection, (database,)) if item.kind == "table"}
        if (database, table) in there:
            found.append(difference(connection, database, restored, table))
        else:  # it was dropped: everything that was restored is gone now
            count = server.count_rows(connection, restored, table)
            found.append(
                TableDifference(
                    table=f"{database}.{table}", only_restored=count, only_current=0, changed=0, same=0, key=()
                )
            )
    return tuple(found)
