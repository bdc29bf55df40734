"""Which transactions of a log a replay leaves out: about accounts, of other databases, notes of earlier replays."""

import re
from collections.abc import Iterator
from typing import Literal

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.mysql.binlog_transactions import Transaction
from spoqplus_backup.core.mysql.replay_marker import SCHEMA, noted_in

Reason = Literal["accounts", "databases", "notes"]

_LEAD = r"(?:\s|/\*(?!!).*?\*/|--[^\n]*\n|#[^\n]*\n|/\*M?!\d*)*"
_NAME = r"(?:`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\"|[^\s`\".,;()]+)"
_ACCOUNTS = re.compile(
    rf"{_LEAD}(?:(?:CREATE(?:\s+OR\s+REPLACE)?|ALTER|DROP|RENAME)\s+(?:USER|ROLE)\b|GRANT\b|REVOKE\b"
    r"|SET\s+(?:PASSWORD|DEFAULT\s+ROLE|ROLE)\b|FLUSH\s+(?:LOCAL\s+|NO_WRITE_TO_BINLOG\s+)?PRIVILEGES\b)",
    re.IGNORECASE | re.DOTALL,
)
_ACCOUNT_TABLES = frozenset(
    ("user", "db", "global_priv", "tables_priv", "columns_priv", "procs_priv", "proxies_priv", "roles_mapping")
    + ("default_roles", "role_edges", "global_grants", "password_history")
)
_DATABASE = re.compile(
    rf"{_LEAD}(?:CREATE(?:\s+OR\s+REPLACE)?|ALTER|DROP)\s+(?:DATABASE|SCHEMA)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?({_NAME})",
    re.IGNORECASE | re.DOTALL,
)
_OBJECT = re.compile(
    rf"{_LEAD}(?:"
    r"(?:CREATE|ALTER|DROP|TRUNCATE|RENAME|OPTIMIZE|ANALYZE|REPAIR)\b[^;`\"'(]*?"
    r"\b(?:TABLE|TABLES|VIEW|TRIGGER|PROCEDURE|FUNCTION|EVENT|SEQUENCE|PACKAGE(?:\s+BODY)?)"
    r"|(?:CREATE|DROP)\b[^;\"'(]*?\bINDEX\b[^;(]*?\bON"
    r"|(?:INSERT|REPLACE)\b[^;`\"'(]*?\bINTO|UPDATE(?:\s+(?:LOW_PRIORITY|IGNORE))*|DELETE\b[^;`\"'(]*?\bFROM"
    rf")\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?((?:{_NAME})\s*\.\s*)?(?:{_NAME})",
    re.IGNORECASE | re.DOTALL,
)
_DEFINER = re.compile(rf"\bDEFINER\s*=\s*{_NAME}(?:\s*@\s*{_NAME})?", re.IGNORECASE)
_MORE = re.compile(rf"\s*(?:TO\s+|,\s*)((?:{_NAME})\s*\.\s*)?(?:{_NAME})", re.IGNORECASE)


def manages_accounts(transaction: Transaction) -> bool:
    """Whether a transaction does nothing but make, change or drop accounts, roles and what they may do."""
    if transaction.changes:
        return all(database == "mysql" and table in _ACCOUNT_TABLES for database, table in transaction.changes)
    return bool(transaction.statements) and all(_ACCOUNTS.match(text) for _, text in transaction.statements)


def kind_of_statement(transaction: Transaction) -> str:
    """The first two words of a transaction's statement; what follows in one about accounts is secret."""
    text = re.sub(rf"^{_LEAD}", "", transaction.statements[0][1]) if transaction.statements else ""
    return " ".join(text.split()[:2])


def touched(transaction: Transaction) -> frozenset[str]:
    """The databases that a transaction changes; a statement's by the name it begins with, or its session's own."""
    found = {database for database, _ in transaction.changes}
    if not transaction.changes:
        for database, text in transaction.statements:
            found.update(_of_statement(database, text))
    return frozenset(found)


def _of_statement(database: str, text: str) -> Iterator[str]:
    text = _DEFINER.sub("", text)
    if match := _DATABASE.match(text):
        yield _unquoted(match[1])
        return
    found = _OBJECT.match(text)
    if found is None and database:
        yield database
    while found is not None:
        yield _unquoted(found[1].rstrip().removesuffix(".").rstrip()) if found[1] else database
        found = _MORE.match(text, found.end())


def _unquoted(name: str) -> str:
    if name[:1] in ("`", '"'):
        quote = name[0]
        return name[1:-1].replace(quote * 2, quote)
    return name


def left_out(
    transaction: Transaction, *, skip_accounts: bool, databases: frozenset[str] | None, where: str
) -> Reason | None:
    """Why a transaction is left out; None when it is to be applied.

    Raises:
        PermanentError: it changes both databases that are wanted and others, so it can't be applied as a whole.
    """
    if skip_accounts and manages_accounts(transaction):
        return "accounts"
    noted = noted_in(transaction)
    if databases is None and not noted:
        return None
    found = touched(transaction)
    if noted and found == {SCHEMA}:
        return "notes"
    found -= {SCHEMA}
    if databases is None or not found or found <= databases:
        return None
    if not found & databases:
        return "databases"
    raise PermanentError(
        f"The transaction {where} changes {', '.join(sorted(found & databases))} and also "
        f"{', '.join(sorted(found - databases))}: add those databases to the restore, or restore everything elsewhere."
    )
