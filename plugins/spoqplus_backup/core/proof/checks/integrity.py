"""The database holds together: no damaged table, no row without its parent, no view or program that can't run."""

from collections.abc import Mapping, Sequence

from spoqplus_backup.core.mysql import integrity, server
from spoqplus_backup.core.mysql.server import Connection, StatementError
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.proof.evidence import Evidence
from spoqplus_backup.core.proof.measure import BROKEN
from spoqplus_backup.core.proof.scene import Scene


def check(scene: Scene) -> Sequence[Notice]:
    """Look at every table, foreign key, view and program.

    What can't be used in production either is no fault of the restore: it is evidence, by name.

    Raises:
        CheckFailed: something is wrong.
    """
    with server.connect(scene.login) as connection:
        databases = scene.settings.database.databases or server.databases(connection)
        faults = Evidence()
        good = [
            _tables(connection, databases, faults),
            _foreign_keys(connection, databases, faults),
            *_objects(connection, databases, scene.measured.get(BROKEN), faults),
        ]
    return faults.judge(good)


def _tables(connection: Connection, databases: Sequence[str], faults: Evidence) -> Notice:
    tables = integrity.tables(connection, databases)
    for database, table in tables:
        check_cancelled()
        if damage := integrity.damage(connection, database, table):
            faults.add(
                notice(
                    "check.integrity.table",
                    "CHECK TABLE says of {table}: {words}",
                    table=f"{database}.{table}",
                    words="; ".join(damage)[:500],
                )
            )
    return notice("check.integrity.tables", "CHECK TABLE found no fault in {tables} tables.", tables=f"{len(tables):,}")


def _foreign_keys(connection: Connection, databases: Sequence[str], faults: Evidence) -> Notice:
    keys = list(integrity.foreign_keys(connection, databases))
    for key in keys:
        check_cancelled()
        values = {"key": key.name, "table": f"{key.database}.{key.table}"}
        try:
            found = integrity.orphans(connection, key)
        except StatementError as error:
            faults.add(
                notice(
                    "check.integrity.key_failed",
                    "The foreign key {key} of {table} leads to nothing that can be read: {words}",
                    **values,
                    words=error,
                )
            )
            continue
        if found.count:
            faults.add(
                notice(
                    "check.integrity.orphans",
                    "Rows of {table} without their partner in {parent} (foreign key {key}): {count}. The keys of the "
                    "first ones: {keys}.",
                    **values,
                    parent=f"{key.parent_database}.{key.parent}",
                    count=f"{found.count:,}",
                    keys=", ".join(found.keys),
                )
            )
    return notice("check.integrity.keys", "Every row has its parent by {keys} foreign keys.", keys=f"{len(keys):,}")


def _objects(connection: Connection, databases: Sequence[str], before: object, faults: Evidence) -> Sequence[Notice]:
    """`before` is what is broken in production; None when that was not looked at."""
    broken = integrity.broken_objects(connection, databases)
    known: list[Notice] = []
    for name, words in broken.items():
        if not isinstance(before, Mapping):
            known.append(
                notice(
                    "check.integrity.broken_unknown",
                    "The {name} can't be used; whether it can in production is not known: {words}",
                    name=name,
                    words=words,
                )
            )
        elif name in before:
            known.append(
                notice(
                    "check.integrity.broken_before",
                    "The {name} can't be used, in production neither: {words}",
                    name=name,
                    words=words,
                )
            )
        else:
            faults.add(notice("check.integrity.broken", "The {name} can't be used: {words}", name=name, words=words))
    kinds = [item.kind for item in server.objects(connection, databases)]
    return [
        notice(
            "check.integrity.objects",
            "{views} views answer; {programs} triggers, routines and events have their definers ({broken} exceptions).",
            views=kinds.count("view"),
            programs=len(kinds) - kinds.count("view") - kinds.count("table"),
            broken=len(broken),
        ),
        *known,
    ]
