"""Scheduled events during a replay: none runs, for what it did is in the logs; then each is what backup and logs say.

An applier disables those that it makes, as for a replica. On the plain path the load and the feed do the same to all
that would run (`event_statements.py`). What they are in the end is read out of the logs.
"""

import re
from collections.abc import Iterable, Mapping

from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.recovery.replay_logs import Found, Replay, transactions, whole_statements

Event = tuple[str, str]  # database and name, the name in small letters: the server does not tell them apart

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


def named(database: str, name: str) -> Event:
    """An event as it is looked up by."""
    return database, name.lower()


def for_replicas(connection: server.Connection) -> set[Event]:
    """The events that a server takes for those of its source, and does not run."""
    return {named(database, name) for database, name in _for_replicas(connection)}


def _for_replicas(connection: server.Connection) -> list[tuple[str, str]]:
    rows = connection.rows(
        "SELECT EVENT_SCHEMA, EVENT_NAME FROM information_schema.EVENTS WHERE STATUS LIKE '%SIDE_DISABLED'"
    )
    return sorted((str(database), str(name)) for database, name in rows)


def give_back(connection: server.Connection, job: Replay, before: set[Event]) -> None:
    """After an applier: enable, or plainly disable, the events that were not `for_replicas` before."""
    found = [event for event in _for_replicas(connection) if named(*event) not in before]
    if found:
        states = _states(job, ())
        for database, name in found:
            _set(connection, database, name, enabled=states.get(named(database, name), True))


def give_back_held(connection: server.Connection, job: Replay, held: Iterable[tuple[str, str]]) -> None:
    """After a replay: the events that the load held, and those of the logs. Does nothing the second time.

    Args:
        connection: at the target.
        job: what was replayed.
        held: database and name of the events that the backup has enabled.
    """
    found = _for_replicas(connection)
    if found:
        states = _states(job, (named(*event) for event in held))
        for database, name in found:
            if (enabled := states.get(named(database, name))) is not None:
                _set(connection, database, name, enabled=enabled)


def _set(connection: server.Connection, database: str, name: str, *, enabled: bool) -> None:
    """Change the status and nothing else: the definer, the modes and the zone would be those of this session."""
    ((definer, mode, zone),) = connection.rows(
        "SELECT DEFINER, SQL_MODE, TIME_ZONE FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s "
        "AND EVENT_NAME = %s",
        (database, name),
    )
    user, _, host = str(definer).rpartition("@")
    account = f"{server.quoted(user)}@{server.quoted(host)}"
    event = f"{server.quoted(database)}.{server.quoted(name)}"
    connection.rows("SET SESSION sql_mode = %s, time_zone = %s", (mode, zone))
    connection.execute(f"ALTER DEFINER = {account} EVENT {event} {'ENABLE' if enabled else 'DISABLE'}".encode())


def _states(job: Replay, enabled: Iterable[Event]) -> Mapping[Event, bool]:
    """Whether events are enabled after the logs, of those that were `enabled` before and those that logs speak of."""
    states = dict.fromkeys(enabled, True)
    for found in transactions(job, job.logs[0].name, job.start):
        if isinstance(found, Found) and found.transaction.commit_start is None:
            database = next((name for name, _ in found.transaction.statements), "")
            for text in whole_statements(found):
                _note(states, database, text)
    return states


def _note(states: dict[Event, bool], current: str, text: str) -> None:
    match = _STATEMENT.match(_QUOTED.sub("''", text))
    if match is None:
        return
    event = named(_plain(match[2]) if match[2] else current, _plain(match[3]))
    if _DISABLED.search(match[4]):
        states[event] = False
    elif match[1].upper() == "CREATE" or _ENABLED.search(match[4]):
        states[event] = True
    renamed = _RENAMED.search(match[4])
    if renamed and event in states:
        states[named(_plain(renamed[1]) if renamed[1] else event[0], _plain(renamed[2]))] = states.pop(event)


def _plain(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name
