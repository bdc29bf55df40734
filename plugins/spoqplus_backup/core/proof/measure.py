"""What production itself answers in the fingerprint's snapshot, to compare the restored server with."""

import contextlib
from collections.abc import Sequence

from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.integrity import broken_objects
from spoqplus_backup.core.mysql.server import Connection, StatementError
from spoqplus_backup.core.proof.definitions import Check, SqlCheck
from spoqplus_backup.core.proof.query import answer

BROKEN = "integrity"  # no check of a file has this name
FAILED = "failed"


def measure(connection: Connection, checks: Sequence[Check], databases: Sequence[str] = ()) -> dict[str, object]:
    """Answers by the name of the check, fit for JSON, for `Scene.measured`.

    What production refuses is kept as its words: the check fails, not the fingerprint.

    Args:
        connection: in the snapshot; its session is as before afterwards.
        checks: of them, those that compare with production.
        databases: empty for all.
    """
    found: dict[str, object] = {}
    with contextlib.suppress(StatementError):  # of a login that may not see the accounts: then it is not known
        found[BROKEN] = broken_objects(connection, databases or server.databases(connection))
    for check in checks:
        if isinstance(check, SqlCheck) and check.asks_production:
            try:
                found[check.name] = answer(connection, check.sql, check.timeout_seconds)
            except StatementError as error:
                found[check.name] = {FAILED: str(error)}
    return found
