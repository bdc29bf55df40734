"""Every table, row and definition is what production had when the test began."""

from collections.abc import Iterator, Sequence

from spoqplus_backup.core.mysql.fingerprint import TableMismatch, compare
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.proof.evidence import Evidence
from spoqplus_backup.core.proof.scene import Scene


def check(scene: Scene) -> Sequence[Notice]:
    """Compare with the fingerprint.

    Raises:
        CheckFailed: something differs: which table, both counts, the first keys.
    """
    expected = scene.fingerprint
    private = scene.settings.recovery_test.connection is None  # else the server has databases and accounts of its own
    found = compare(
        expected,
        scene.fingerprint_directory,
        scene.login,
        scene.settings.database.databases if private else expected.databases,
        with_accounts=private,
    )
    keys = {table.full_name: table.key for table in expected.tables}
    faults = Evidence()
    for table in found.tables:
        for item in _about(table, keys.get(table.table)):
            faults.add(item)
    for name, how in found.definitions.items():
        faults.add(_definition(name, how))
    return faults.judge(
        [
            notice(
                "check.records.same",
                "All {rows} rows of {tables} tables and {definitions} definitions are production's at {place}.",
                rows=f"{expected.rows:,}",
                tables=f"{len(expected.tables):,}",
                definitions=f"{len(expected.definitions):,}",
                place=f"{expected.place.log}:{expected.place.position}",
            )
        ]
    )


def _about(table: TableMismatch, key: tuple[str, ...] | None) -> Iterator[Notice]:
    """What differs; `key` is None for a table that production does not have, and empty for one without."""
    values = {"table": table.table, "expected": f"{table.expected_rows:,}", "found": f"{table.found_rows or 0:,}"}
    if table.found_rows is None:
        yield notice(
            "check.records.table_missing", "{table} is missing; production has {expected} rows in it.", **values
        )
        return
    if key is None:
        yield notice(
            "check.records.table_unexpected",
            "{table} is there with {found} rows; production has no such table.",
            **values,
        )
        return
    if table.found_rows == table.expected_rows:
        yield notice(
            "check.records.content", "{table} has {found} rows as in production, but not the same ones.", **values
        )
    else:
        yield notice("check.records.count", "{table} has {found} rows; production has {expected}.", **values)
    if not key:
        yield notice(
            "check.records.no_key", "{table} has no primary key: which of its rows differ can't be told.", **values
        )
    if table.missing:
        yield notice(
            "check.records.rows_missing",
            "{table}: rows are missing, the first ones have the keys {keys}.",
            table=table.table,
            keys=", ".join(table.missing),
        )
    if table.unexpected:
        yield notice(
            "check.records.rows_unexpected",
            "{table}: there are rows that production does not have, the first ones have the keys {keys}.",
            table=table.table,
            keys=", ".join(table.unexpected),
        )
    if table.changed:
        yield notice(
            "check.records.rows_changed",
            "{table}: rows are not the same, the first ones have the keys {keys}.",
            table=table.table,
            keys=", ".join(table.changed),
        )


def _definition(name: str, how: str) -> Notice:
    if how == "missing":
        return notice("check.records.definition_missing", "The definition of the {name} is missing.", name=name)
    if how == "unexpected":
        return notice(
            "check.records.definition_unexpected", "There is a {name}, which production does not have.", name=name
        )
    return notice("check.records.definition_changed", "The {name} is defined otherwise than in production.", name=name)
