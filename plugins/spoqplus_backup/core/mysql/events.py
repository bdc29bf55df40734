"""Events that mysqldump can't write.

Its search for a delimiter that an event's body does not hold never ends when the body holds `;;` (seen with MariaDB
10.11.19 and MySQL 9.7.4): mysqldump then runs for ever and writes nothing. Where there is such an event, the dump is
made without events, and they are written here, in the same form, as the dump's last part.
"""

from collections.abc import Sequence
from pathlib import Path

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.manifest import Segment
from spoqplus_backup.core.mysql import server

_TRAP = ";;"


def trap_mysqldump(login: DatabaseLogin, databases: Sequence[str]) -> bool:
    """Whether an event of these databases would make mysqldump run for ever."""
    marks = ", ".join(["%s"] * len(databases))
    statement = (
        "SELECT COUNT(*) FROM information_schema.EVENTS "
        f"WHERE EVENT_SCHEMA IN ({marks}) AND LOCATE(%s, EVENT_DEFINITION)"
    )
    with server.connect(login) as connection:
        return bool(connection.value(statement, (*databases, _TRAP)))


def write(login: DatabaseLogin, databases: Sequence[str], directory: Path, part: int) -> tuple[list[Segment], int]:
    """Write the events of these databases as part number `part`; its segments, and how many events there are."""
    segments: list[Segment] = []
    content, count = b"SET NAMES utf8mb4;\n", 0
    with server.connect(login) as connection:
        connection.rows("SET NAMES utf8mb4")
        for database in databases:
            names = connection.rows(
                "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s ORDER BY EVENT_NAME",
                (database,),
            )
            text = "".join(_definition(connection, database, str(name)) for (name,) in names).encode()
            start = len(content) if segments else 0
            content += text
            count += len(names)
            if text:
                length = len(content) - start
                segments.append(Segment(part=part, offset=start, length=length, kind="events", database=database))
    (directory / f"{part:06d}.sql").write_bytes(content)
    return segments, count


def _definition(connection: server.Connection, database: str, name: str) -> str:
    (row,) = connection.rows(f"SHOW CREATE EVENT {server.quoted(database)}.{server.quoted(name)}")
    _, sql_mode, time_zone, body, charset, collation, _ = (str(value) for value in row)
    delimiter = "$$"
    while delimiter in body:
        delimiter += "$"
    return (
        f"USE {server.quoted(database)};\n"
        f"DROP EVENT IF EXISTS {server.quoted(name)};\n"
        f"SET character_set_client = {charset}, character_set_results = {charset};\n"
        f"SET collation_connection = {collation};\n"
        f"SET sql_mode = '{sql_mode}', time_zone = '{time_zone}';\n"
        f"DELIMITER {delimiter}\n{body} {delimiter}\nDELIMITER ;\n"
        "SET NAMES utf8mb4;\nSET sql_mode = 'NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00';\n"
    )
