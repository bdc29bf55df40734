"""Overwrites personal data in a restored server, for checks that need no real names.

What was the same stays the same, so that references and groups hold; what was NULL stays NULL.
"""

import secrets

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.server import Connection, quoted

_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
_BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_DATES = ("date", "datetime", "timestamp")
_NUMBERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double")


def mask(login: DatabaseLogin, columns: tuple[str, ...]) -> int:
    """Overwrite `columns` (`database.table.column`) of a restored server; how many rows were changed.

    Raises:
        PermanentError: there is no such column, or its type can't be masked.
        BackupError: the server refuses, as for a value that has to be unique and is too short to stay so.
    """
    salt, changed = secrets.token_hex(16), 0
    with server.connect(login) as connection:
        connection.rows("SET SESSION foreign_key_checks = 0")
        connection.rows("SET SESSION sql_mode = ''")
        for column in columns:
            database, table, name = column.split(".")
            value = _value(connection, database, table, name, salt)
            place, field = f"{quoted(database)}.{quoted(table)}", quoted(name)
            connection.rows(f"UPDATE {place} SET {field} = {value} WHERE {field} IS NOT NULL")  # noqa: S608
            changed += int(connection.value("SELECT ROW_COUNT()"))
    return changed


def _value(connection: Connection, database: str, table: str, name: str, salt: str) -> str:
    found = connection.rows(
        "SELECT DATA_TYPE, CHARACTER_MAXIMUM_LENGTH FROM information_schema.COLUMNS "
        "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND COLUMN_NAME = %s",
        (database, table, name),
    )
    if not found:
        raise PermanentError(f"There is no column {database}.{table}.{name} to mask: correct `recovery_test.mask`.")
    kind, length = str(found[0][0]).lower(), int(found[0][1] or 0)
    digest = f"SHA2(CONCAT('{salt}', {quoted(name)}), 256)"
    if kind in _TEXTS:
        return f"LEFT({digest}, {min(length, 32)})"
    if kind in _BYTES:
        return f"LEFT(UNHEX({digest}), {min(length, 32)})"
    if kind in _DATES:
        return "'2000-01-01'"
    if kind in _NUMBERS:
        return "0"
    raise PermanentError(
        f"{database}.{table}.{name} is of the type {kind}, which can't be masked: take it out of `recovery_test.mask`."
    )
