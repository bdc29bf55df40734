"""A query of a file of checks, and what it has to answer."""

import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.proof.definitions import MOST_ROWS, SqlCheck
from spoqplus_backup.core.proof.measure import FAILED
from spoqplus_backup.core.proof.query import Answer, answer, reading
from spoqplus_backup.core.proof.scene import CheckFailed, Scene

SAMPLES = 5


def check(scene: Scene, definition: SqlCheck) -> Sequence[Notice]:
    """Ask the restored server; see `answer_of`."""
    return answer_of(scene.login, definition, scene.measured.get(definition.name))


def answer_of(login: DatabaseLogin, definition: SqlCheck, measured: object = None) -> Sequence[Notice]:
    """Ask a server; `measured` is what production answered, where that is asked for.

    Raises:
        CheckFailed: it answers something else.
        StatementError: it refuses the query.
    """
    with reading(login) as connection:
        rows = answer(connection, definition.sql, definition.timeout_seconds)
    if definition.asks_production:
        return _as_production(rows, measured)
    kind, wanted = definition.expect.kind, definition.expect.value
    if kind == "value":
        return _value(rows, wanted)
    return _count(rows, kind, int(wanted))


def _value(rows: Answer, wanted: float | str) -> Sequence[Notice]:
    if not rows:
        raise CheckFailed(notice("check.sql.no_row", "The query found no row; expected: {expected}.", expected=wanted))
    found = rows[0][0]
    if not _same(found, wanted):
        raise CheckFailed(
            notice(
                "check.sql.value",
                "The query answered {found}; expected: {expected}.",
                found=_shown(found),
                expected=wanted,
            )
        )
    return [notice("check.sql.as_expected", "The query answered {expected}, as expected.", expected=wanted)]


def _same(found: object, wanted: float | str) -> bool:
    if isinstance(wanted, str):
        return found == wanted
    try:
        return Decimal(str(found)) == Decimal(str(wanted))
    except InvalidOperation:  # no number
        return False


def _shown(found: object) -> str:
    """A number; what else is in a row is not for a report."""
    if found is None:
        return "NULL"
    try:
        return f"{Decimal(str(found))}"
    except InvalidOperation:
        return "(...)"


def _count(rows: Answer, kind: str, wanted: int) -> Sequence[Notice]:
    count = len(rows)
    good = {
        "rows": count == wanted,
        "at_least": count >= wanted,
        "at_most": count <= wanted,
        "empty": count == 0,
    }[kind]
    found = f"{MOST_ROWS}+" if count > MOST_ROWS else str(count)
    if good:
        return [notice("check.sql.rows", "Rows found: {found}, as expected.", found=found)]
    if kind == "at_least":
        raise CheckFailed(
            notice(
                "check.sql.few",
                "Rows found: {found}; expected: {expected} or more.",
                found=found,
                expected=wanted,
            )
        )
    keys = ", ".join(str(row[0]) for row in rows[:SAMPLES]) or "-"
    if kind == "at_most":
        raise CheckFailed(
            notice(
                "check.sql.many",
                "Rows found: {found}; expected: {expected} or fewer. The first ones: {keys}.",
                found=found,
                expected=wanted,
                keys=keys,
            )
        )
    raise CheckFailed(
        notice(
            "check.sql.other_count",
            "Rows found: {found}; expected: {expected}. The first ones: {keys}.",
            found=found,
            expected=wanted,
            keys=keys,
        )
    )


def _as_production(rows: Answer, measured: object) -> Sequence[Notice]:
    if isinstance(measured, dict):
        raise CheckFailed(
            notice("check.sql.refused", "Production refused the query: {words}", words=measured.get(FAILED))
        )
    if not isinstance(measured, list):
        raise CheckFailed(
            notice(
                "check.sql.not_measured",
                "Production was not asked this query when the test began: was the check added since? Run the test "
                "anew.",
            )
        )
    if max(len(rows), len(measured)) > MOST_ROWS:
        raise CheckFailed(
            notice(
                "check.sql.too_many",
                "The query finds more than {most} rows, too many to compare: group or sum them.",
                most=MOST_ROWS,
            )
        )
    ours, theirs = (Counter(json.dumps(row) for row in side) for side in (rows, measured))
    differing = [json.loads(row) for row in (*(ours - theirs), *(theirs - ours))]
    if differing:
        keys = list(dict.fromkeys(str(row[0]) for row in differing))
        raise CheckFailed(
            notice(
                "check.sql.differs",
                "Rows found: {found}, in production: {expected}. These differ ({count}): {keys}.",
                found=len(rows),
                expected=len(measured),
                count=len(keys),
                keys=", ".join(keys[:SAMPLES]),
            )
        )
    return [notice("check.sql.same", "Rows found: {found}, the same as in production.", found=len(rows))]
