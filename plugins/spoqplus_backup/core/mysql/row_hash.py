"""A hash of each row that is equal only for rows that are equal to the byte, computed by the server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.server import Connection, quoted

HASH_DIGITS = 32  # of the 64 of SHA-256

# What the values below are read with, whoever asks and wherever.
SESSION = (
    "SET NAMES utf8mb4",
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION sql_mode = ''",
    "SET SESSION wait_timeout = 86400",
    "SET SESSION net_write_timeout = 86400",  # whoever reads may rest between rows
)
_SPATIAL = frozenset(
    ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon")
    + ("geometrycollection", "geomcollection")
)
_NUMBERS = frozenset(
    ("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year")
    + ("date", "datetime", "timestamp", "time")
)


@dataclass(frozen=True)
class TableShape:
    """A table's columns by name and type, and its primary key (empty: none).

    The rows of a versioned one are those of the past, too.
    """

    database: str
    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    versioned: bool

    @property
    def statement(self) -> str:
        """SELECT of a row's hash and key, in the order of the key."""
        parts = ", ".join(_part(name, kind) for name, kind in self.columns.items())
        columns = [f"LEFT(SHA2(CONCAT_WS('/', {parts}), 256), {HASH_DIGITS})", *map(quoted, self.key)]
        history = " FOR SYSTEM_TIME ALL" if self.versioned else ""
        order = f" ORDER BY {', '.join(map(quoted, self.key))}" if self.key else ""
        return f"SELECT {', '.join(columns)} FROM {quoted(self.database)}.{quoted(self.name)}{history}{order}"


def _part(name: str, kind: str) -> str:
    """A column as text without a slash: NULL is `-`, and what is long is a hash of its own.

    So no value has to fit into max_allowed_packet twice, which the server would take for NULL without an error.
    """
    column = quoted(name)
    if kind in _NUMBERS:
        text = f"CAST({column} AS CHAR)"
    elif kind == "bit":
        text = f"HEX({column})"
    elif kind in _SPATIAL:
        text = f"CONCAT(ST_SRID({column}), ':', SHA2(ST_AsWKB({column}), 256))"
    elif kind == "json":
        text = f"SHA2(CAST({column} AS CHAR CHARACTER SET utf8mb4), 256)"
    else:
        text = f"SHA2({column}, 256)"
    return f"COALESCE({text}, '-')"


def shape(connection: Connection, database: str, table: str) -> TableShape:
    """What a table looks like now: every column, generated and invisible ones too."""
    columns = connection.rows(
        "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s "
        "ORDER BY ORDINAL_POSITION",
        (database, table),
    )
    return TableShape(
        database,
        table,
        {str(name): str(kind).lower() for name, kind in columns},
        server.primary_key(connection, database, table),
        server.is_versioned(connection, database, table),
    )


def hashed_rows(connection: Connection, table: TableShape) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each row's hash and its key as text, in the order of the key; in the server's own without one."""
    for digest, *key in connection.stream(table.statement):
        yield str(digest), tuple(map(_shown, key))


def _shown(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
