"""Makes the secondary keys of a big table after its rows: to sort all entries of a key once costs the server far less
than to find the place of each.

The table is made as the dump has it. Its keys and foreign keys are then taken away and, after the rows, added again
with the words of the target's own SHOW CREATE TABLE. That this gives the very same table is not assumed: it is tried on
the empty table first, and looked at again in the end. A table that does not pass keeps its keys.
"""

import logging
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.mysql.rows import RowSession, until_not_lost
from spoqplus_backup.core.mysql.server import StatementError, quoted

log = logging.getLogger(__name__)

_NAME = r"`(?:[^`]|``)+`"
_KEY = re.compile(rf"  ((?:UNIQUE )?KEY ({_NAME}) .+?),?")
_FOREIGN_KEY = re.compile(rf"  (CONSTRAINT ({_NAME}) FOREIGN KEY .+?),?")
_PRIMARY_KEY = re.compile(r"^  PRIMARY KEY \((.+)\)", re.MULTILINE)
_AUTO_INCREMENT = re.compile(r"(?<=\) ENGINE=InnoDB) AUTO_INCREMENT=\d+")

# Its keys hang together with more than its columns.
_LEFT_ALONE = re.compile(r" GENERATED ALWAYS AS |\(\(|PERIOD FOR |WITH SYSTEM VERSIONING")

_REFERENCED = (
    "SELECT REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, ORDINAL_POSITION, REFERENCED_COLUMN_NAME "
    "FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL"
)

Reference = tuple[str, str, int, str]
"""Schema, table, position in the foreign key, column: what some foreign key points at."""


@dataclass(frozen=True)
class DeferredKeys:
    """The keys that one table lacks until its rows are there."""

    database: str
    table: str
    definition: str
    drop: str
    add: tuple[str, ...]

    def restore(self, session: RowSession) -> None:
        """Add them, which also looks for duplicates in unique keys.

        Raises:
            StatementError: the server refused; a value may be there twice.
            IntegrityError: the table is not what it was.
        """
        session.use(self.database)
        started = time.monotonic()
        for statement in self.add:
            _alter(session, statement)
        log.info("Added the keys of %s.%s in %.1f s", self.database, self.table, time.monotonic() - started)
        if _definition(session, self.table) != self.definition:
            raise IntegrityError(
                f"The table {self.database}.{self.table} is not what it was after its keys were added: "
                "look at it with SHOW CREATE TABLE, and clear the task load."
            )


def references(session: RowSession) -> Collection[Reference]:
    """What foreign keys point at, on the whole server."""
    return {(str(row[0]), str(row[1]), int(row[2]), str(row[3])) for row in session.rows(_REFERENCED)}


def without_keys(session: RowSession, database: str, table: str) -> DeferredKeys | None:
    """Look how the secondary keys of an empty table could be taken away; None when it has none or had better keep them.

    Nothing is changed.
    """
    session.use(database)
    definition = _definition(session, table)
    lines = definition.split("\n")
    keys = [match for line in lines if (match := _KEY.fullmatch(line))]
    foreign = [match for line in lines if (match := _FOREIGN_KEY.fullmatch(line))]
    if not keys or " ENGINE=InnoDB" not in definition or not _PRIMARY_KEY.search(definition):
        return None
    if _LEFT_ALONE.search(definition):
        return None
    drops = [f"DROP FOREIGN KEY {match[2]}" for match in foreign] + [f"DROP KEY {match[2]}" for match in keys]
    # apart: a foreign key waits for the table that it points at, and is no work where nobody looks for its rows
    adds = [", ".join(f"ADD {match[1]}" for match in found) for found in (keys, foreign) if found]
    alter = f"ALTER TABLE {quoted(table)} "
    return DeferredKeys(database, table, definition, alter + ", ".join(drops), tuple(alter + add for add in adds))


def is_referenced(keys: DeferredKeys, found: Collection[Reference]) -> bool:
    """Whether a foreign key, of this or another table, needs one of the keys that would go."""
    match = _PRIMARY_KEY.search(keys.definition)
    primary = re.findall(_NAME, match[1]) if match else []
    return any(
        quoted(column) not in primary[position - 1 : position]
        for schema, table, position, column in found
        if (schema, table) == (keys.database, keys.table)
    )


def take_away(session: RowSession, keys: DeferredKeys) -> bool:
    """Take the keys from the empty table after the whole way there and back was tried on it.

    False when the server did not go along, or another table came out; the table may be in any state then.
    """
    try:
        session.use(keys.database)
        _alter(session, keys.drop)
        for statement in keys.add:
            _alter(session, statement)
        if _definition(session, keys.table) != keys.definition:
            log.info("The keys of %s.%s can't be added later in the same order", keys.database, keys.table)
            return False
        _alter(session, keys.drop)
    except StatementError as error:
        log.info("The keys of %s.%s can't be added later: %s", keys.database, keys.table, error)
        return False
    return True


def _alter(session: RowSession, statement: str) -> None:
    """Change a definition; another ALTER TABLE may want the same tables."""
    until_not_lost(lambda: session.rows(statement))


def _definition(session: RowSession, table: str) -> str:
    """The table's SHOW CREATE TABLE, without the number that the next row gets."""
    row: Sequence[object] = session.rows(f"SHOW CREATE TABLE {quoted(table)}")[0]
    return _AUTO_INCREMENT.sub("", str(row[1]))
