"""What a person should know of a restore before it is approved."""

import shutil
from collections.abc import Sequence

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.manifest import Manifest
from spoqplus_backup.core.mysql.sandbox import ServerPrograms
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.recovery.plan import PlannedComponent
from spoqplus_backup.core.recovery.reach import Look
from spoqplus_backup.core.recovery.request import RestoreRequest
from spoqplus_backup.core.recovery.target import PlannedReplay
from spoqplus_backup.core.settings import Settings

NAMES = 5  # of many are told
SANDBOX_FACTOR = 2.0  # of the SQL: rows with their indexes, and the logs that InnoDB keeps


def target_warnings(
    settings: Settings,
    manifest: Manifest,
    look: Look,
    saved: set[tuple[str, str]],
    request: RestoreRequest,
    planned: list[PlannedComponent],
) -> tuple[Notice, ...]:
    """What is at the target, and what will become of it; `saved` are the names that the backup has."""
    found = []
    facts, there = look.facts, look.there
    if facts is not None and not manifest.server.version.startswith(".".join(map(str, facts.version[:2]))):
        sentence = "The backup is of version {backup}, the target is {target}."
        found.append(notice("plan.version", sentence, backup=manifest.server.version, target=facts.version_text))
    left = there - saved
    if left and not request.tables:
        names = _some([f"{database}.{name}" for database, name in sorted(left)])
        found.append(notice("plan.left", "What the backup does not have stays as it is: {names}.", names=names))
    if request.environment == "production" and request.into_schema is None and not settings.restore.binary_log:
        found.append(
            notice(
                "plan.not_logged",
                "What is loaded is not written to the binary log (restore.binary_log): replicas won't have it, and the "
                "logs lead to no point behind this restore: see that a full backup is made when it is done.",
            )
        )
    if request.environment == "production" and any(item.name == "face_encodings" for item in planned):
        sentence = "The component face_encodings holds active rows only: rows that are not active will be gone."
        found.append(notice("plan.active_rows", sentence))
    if request.environment == "production" and not request.safety_backup:
        sentence = "There will be no safety backup: what is overwritten can't be brought back."
        found.append(notice("plan.no_safety_backup", sentence))
    return tuple(found)


def _some(names: Sequence[str]) -> str:
    """The first ones, and how many more there are."""
    return ", ".join(names[:NAMES]) + (f" (+{len(names) - NAMES})" if len(names) > NAMES else "")


def replay_warnings(may_drop: Sequence[str]) -> tuple[Notice, ...]:
    """Databases that go when the replayed logs make them."""
    if not may_drop:
        return ()
    sentence = "The backup has no {names}: when the logs make such a database, what is there of that name goes first."
    return (notice("plan.may_drop", sentence, names=_some(may_drop)),)


def rebuild_warnings(
    settings: Settings, request: RestoreRequest, look: Look, login: DatabaseLogin
) -> tuple[Notice, ...]:
    """What a server that is made anew loses, and what is kept of it."""
    how = settings.restore.rebuild_of(request.environment)
    if how is None:
        return ()
    aside = (
        "The whole server is made anew: {stop} stops its service, and its data directory {directory} is moved aside. "
        "There is no safety backup: the old directory is the copy"
    )
    places = {"stop": repr(" ".join(how.stop)), "directory": how.data_directory}
    found = [
        notice("plan.rebuild_keeps", f"{aside}, and stays there.", **places)
        if how.keep_old
        else notice("plan.rebuild", f"{aside}, and goes when the new server is verified and answers.", **places),
        notice("plan.rebuild_loses", "What the server holds and the backup and the logs do not is gone afterwards."),
        notice(
            "plan.rebuild_logs",
            "Its binary logs begin anew: the next backups start a new timeline, trigger a full backup when it is done.",
        ),
    ]
    if look.facts is None:
        sentence = "The server {address} does not answer: what it is was taken from the backup."
        found.append(notice("plan.rebuild_down", sentence, address=login.address))
    return tuple(found)


def sandbox_warnings(
    settings: Settings, manifest: Manifest, planned: list[PlannedComponent], replay: PlannedReplay | None
) -> tuple[Notice, ...]:
    """See that a private server can be started here, and warn when its disk may be too small."""
    flavour = manifest.server.flavour
    ServerPrograms(flavour, settings.restore.server_directory).find("mariadbd" if flavour == "mariadb" else "mysqld")
    needed = round(sum(item.sql_bytes for item in planned) * SANDBOX_FACTOR) + 2 * (replay.bytes if replay else 0)
    folder = next(path for path in (settings.staging.directory, *settings.staging.directory.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free > needed:
        return ()
    sentence = (
        "A private server takes about {needed} in {directory}, which has {free} free: make room, or point "
        "staging.directory elsewhere."
    )
    sizes = {"needed": human_bytes(needed), "free": human_bytes(free)}
    return (notice("plan.sandbox_space", sentence, directory=settings.staging.directory, **sizes),)
