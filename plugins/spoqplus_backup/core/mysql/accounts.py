"""Accounts, roles and grants as portable SQL: what the `mysql` schema holds, without replaying that schema.

The statements are the server's own (SHOW CREATE USER, SHOW GRANTS), so passwords stay hashes, and any server of the
same vendor takes them. An account that exists at the target is left as it is; its grants are added.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.manifest import DumpObject, Index, Segment
from spoqplus_backup.core.mysql import server

log = logging.getLogger(__name__)

_MAY_NOT = 1698  # only who may be a proxy may say who else may, and ALL PRIVILEGES does not hold that
_NOT_THERE = {1049, 1054, 1146, 1305, 1370}  # no such database, column, table, routine
_SECRET = re.compile(r" IDENTIFIED .*", re.DOTALL)

ROOT = "root"
OWN = ("mysql.infoschema", "mysql.session", "mysql.sys", "mariadb.sys", "PUBLIC")

_IDENTIFIED = re.compile(r" IDENTIFIED (?:VIA|BY PASSWORD) .+?(?= REQUIRE | WITH |$)")  # would change a password

_GRANT = re.compile(r"GRANT (.+?) (ON .+)", re.DOTALL)
_ROUTINE = re.compile(r"(GRANT .+? ON (?:FUNCTION|PROCEDURE) )(.+)( TO .+)", re.DOTALL)
_BETWEEN = re.compile(r", (?=[A-Z])")  # privileges; names of columns are quoted
_COLUMNS = re.compile(r"\(([^)]*)\)")

Account = tuple[str, str, bool]  # user, host, whether it is a role


def write(login: DatabaseLogin, facts: server.ServerFacts, directory: Path) -> Index:
    """Write `000001.sql` with every account of the server that is not the server's own.

    Raises:
        BackupError: this login may not read the accounts (SELECT on the schema mysql).
    """
    with server.connect(login) as connection:
        connection.rows("SET NAMES utf8mb4")
        if facts.flavour == "mysql":
            connection.rows("SET SESSION print_identified_with_as_hex = ON")  # hashes hold bytes that are no text
        found = _accounts(connection, facts)
        creates = [_create(connection, facts, account) for account in found]
        grants = [line for account in found for line in _grants(connection, facts, account)]
    first, second = (
        "".join(f"{line};\n" for line in lines).encode("utf-8", "surrogateescape")
        for lines in (["SET NAMES utf8mb4", *creates], grants)
    )
    (directory / "000001.sql").write_bytes(first + second)
    return Index(
        segments=(
            Segment(part=1, offset=0, length=len(first), kind="accounts"),
            Segment(part=1, offset=len(first), length=len(second), kind="grants"),
        ),
        objects=tuple(DumpObject(kind="account", database="", name=_name(account)) for account in found),
        databases=(),
    )


def definitions(connection: server.Connection, facts: server.ServerFacts) -> dict[str, str]:
    """How each account is made and what it may do, by `account name`; holds password hashes.

    Without `root`, whom each installation of a server makes in its own way.
    """
    if facts.flavour == "mysql":
        connection.rows("SET SESSION print_identified_with_as_hex = ON")
    return {
        f"account {_name(account)}": "\n".join(
            [
                _create(connection, facts, account),
                *sorted(_comparable(grant) for grant in _grants(connection, facts, account)),
            ]
        )
        for account in _accounts(connection, facts)
        if account[0] != ROOT
    }


def _comparable(grant: str) -> str:
    """A grant with its privileges and their columns in order: servers list them in the order in which they came.

    Both vendors keep a routine's name in the wrong character set, and show it so from the next start on.
    """
    if routine := _ROUTINE.fullmatch(grant):
        grant = routine[1] + _as_utf8(routine[2]) + routine[3]
    match = _GRANT.fullmatch(grant)
    if match is None:
        return grant
    names = [_COLUMNS.sub(_columns_in_order, name) for name in _BETWEEN.split(match[1])]
    return f"GRANT {', '.join(sorted(names))} {match[2]}"


def _as_utf8(name: str) -> str:
    """What was taken for latin1; as it is when it was not."""
    try:
        return b"".join(_latin1(letter) for letter in name).decode()
    except UnicodeError:
        return name


def _latin1(letter: str) -> bytes:
    """A letter in the servers' latin1: cp1252, and what that lacks as control characters."""
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1")


def _columns_in_order(columns: re.Match[str]) -> str:
    return f"({', '.join(sorted(columns[1].split(', ')))})"


def clear(login: DatabaseLogin) -> None:
    """Drop all accounts but the server's own and the one that does it: a new server's root has no password."""
    with server.connect(login) as connection:
        facts = server.facts(connection)
        for user, host, role in _accounts(connection, facts):
            if user != login.user:
                name = _name((user, host, role))
                connection.rows(f"DROP {'ROLE' if role else 'USER'} {name}")


def restore(login: DatabaseLogin, content: bytes, *, binary_log: bool, again: bool = False) -> None:
    """Execute a segment that `write` wrote; a grant on what is not there (a dropped table's) is left out and logged.

    The statements hold password hashes, so no error shows one.

    Args:
        login: the server.
        content: the segment.
        binary_log: whether it goes to the server's binary log.
        again: it will be executed once more, behind the data: nothing is said of what is not there yet.

    Raises:
        BackupError: the server refused a statement.
    """
    with server.connect(login) as connection:
        connection.rows(f"SET SESSION sql_log_bin = {int(binary_log)}")
        for statement in content.decode("utf-8", "surrogateescape").split(";\n"):
            if statement:
                _execute(connection, statement, again=again)


def _execute(connection: server.Connection, statement: str, *, again: bool) -> None:
    try:
        connection.rows(statement)
    except server.StatementError as error:
        shown = _SECRET.sub("...", statement)
        if error.code in _NOT_THERE:
            if again:
                return
            log.warning("Left out, for what it is on is not there: %s", shown)
            return
        if error.code == _MAY_NOT and statement.startswith("GRANT PROXY "):
            log.warning("Left out, for this login may not grant it: %s", shown)
            return
        raise BackupError(f"The server refused `{shown}` (error {error.code}).") from None


def _accounts(connection: server.Connection, facts: server.ServerFacts) -> list[Account]:
    is_role = "is_role = 'Y'" if facts.flavour == "mariadb" else "0"
    rows = connection.rows(f"SELECT User, Host, {is_role} FROM mysql.user ORDER BY 3 DESC, User, Host")
    return [(_text(user), _text(host), bool(role)) for user, host, role in rows if _text(user) not in OWN]


def _text(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _name(account: Account) -> str:
    user, host, role = account
    return _literal(user) if role else f"{_literal(user)}@{_literal(host)}"


def _create(connection: server.Connection, facts: server.ServerFacts, account: Account) -> str:
    if account[2]:
        return f"CREATE ROLE IF NOT EXISTS {_name(account)}"
    text = _text(connection.value(f"SHOW CREATE USER {_name(account)}"))
    if facts.flavour == "mysql":  # its roles are granted below, a default role has to be one of them by then
        text = text.partition(" DEFAULT ROLE ")[0] + _after_default_role(text)
    return text.replace("CREATE USER ", "CREATE USER IF NOT EXISTS ", 1)


def _after_default_role(text: str) -> str:
    rest = text.partition(" DEFAULT ROLE ")[2]
    return rest[rest.index(" REQUIRE ") :] if " REQUIRE " in rest else ""


def _grants(connection: server.Connection, facts: server.ServerFacts, account: Account) -> Sequence[str]:
    lines = [_text(row[0]) for row in connection.rows(f"SHOW GRANTS FOR {_name(account)}")]
    if facts.flavour == "mysql":
        created = _text(connection.value(f"SHOW CREATE USER {_name(account)}"))
        roles = created.partition(" DEFAULT ROLE ")[2].partition(" REQUIRE ")[0]
        lines += [f"SET DEFAULT ROLE {roles} TO {_name(account)}"] if roles else []
    return [_IDENTIFIED.sub("", line) for line in lines]
