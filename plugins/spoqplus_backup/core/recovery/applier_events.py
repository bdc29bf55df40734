"""Scheduled events that an applier made: it disables them, as for a replica; here they become what the logs say."""

import re

from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.recovery.replay_logs import Found, Replay, transactions, whole_statements

Event = tuple[str, str]  # database and name

_NAME = r"(?:`(?:[^`]|``)*`|[^\s`.]+)"
_STATEMENT = re.compile(
    r"\s*(CREATE|ALTER)\b.*?\bEVENT\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"(?:({_NAME})\s*\.\s*)?({_NAME})(.*?)(?:\bDO\b.*)?\Z",
    re.IGNORECASE | re.DOTALL,
)
_DISABLED = re.compile(r"\bDISABLE\b", re.IGNORECASE)
_ENABLED = re.compile(r"\bENABLE\b", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^'\\]|''|\\.)*'", re.DOTALL)
_RENAMED = re.compile(rf"\bRENAME\s+TO\s+(?:({_NAME})\s*\.\s*)?({_NAME})", re.IGNORECASE)


def for_replicas(connection: server.Connection) -> set[Event]:
    """The events that a server takes for those of its source, and does not run."""
    rows = connection.rows(
        "SELECT EVENT_SCHEMA, EVENT_NAME FROM information_schema.EVENTS WHERE STATUS LIKE '%SIDE_DISABLED'"
    )
    return {(str(database), str(name)) for database, name in rows}


def give_back(connection: server.Connection, job: Replay, before: set[Event]) -> None:
    """Enable, or plainly disable, the events that were not `for_replicas` before the logs were applied."""
    found = for_replicas(connection) - before
    if not found:
        return
    disabled = _disabled_by(job)
    for database, name in sorted(found):
        ((definer,),) = connection.rows(
            "SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s AND EVENT_NAME = %s",
            (database, name),
        )
        user, _, host = str(definer).rpartition("@")
        account = f"{server.quoted(user)}@{server.quoted(host)}"
        status = "DISABLE" if (database, name) in disabled else "ENABLE"
        statement = f"ALTER DEFINER = {account} EVENT {server.quoted(database)}.{server.quoted(name)} {status}"
        connection.execute(statement.encode())


def _disabled_by(job: Replay) -> set[Event]:
    disabled: set[Event] = set()
    for found in transactions(job, job.logs[0].name, job.start):
        if isinstance(found, Found) and found.transaction.commit_start is None:
            database = next((name for name, _ in found.transaction.statements), "")
            for text in whole_statements(found):
                _note(disabled, database, text)
    return disabled


def _note(disabled: set[Event], current: str, text: str) -> None:
    match = _STATEMENT.match(_QUOTED.sub("''", text))
    if match is None:
        return
    event = (_plain(match[2]) if match[2] else current, _plain(match[3]))
    if _DISABLED.search(match[4]):
        disabled.add(event)
    elif match[1].upper() == "CREATE" or _ENABLED.search(match[4]):
        disabled.discard(event)
    renamed = _RENAMED.search(match[4])
    if renamed and event in disabled:
        disabled.remove(event)
        disabled.add((_plain(renamed[1]) if renamed[1] else event[0], _plain(renamed[2])))


def _plain(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name
