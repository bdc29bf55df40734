"""What becomes of a gap: one run asks for a full backup because of it and ends red; that backup mends it.

Until then nothing behind the gap can be restored, whatever is archived, so the recovery point stays in front of it.

A restore of production that its logs do not hold breaks them twice, where it begins and where it ends. It is told once,
when it has ended: a full backup that was made before would mend nothing.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from spoqplus_backup.core.archive.area import Area, Break, Breaks, TimelineRecord, Unlogged
from spoqplus_backup.core.archive.known import catalogues
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.manifest import Gap, Model
from spoqplus_backup.core.mysql import binlog, server
from spoqplus_backup.core.repository.binlogs import Timeline
from spoqplus_backup.core.repository.catalog import SAFETY, Catalog
from spoqplus_backup.core.repository.opener import open_repositories
from spoqplus_backup.core.run import DATABASE
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)


class OpenGap(Model):
    """A gap, with the timeline that begins behind it."""

    server_id: int
    timeline: str
    opened_at: datetime
    gap: Gap

    @property
    def name(self) -> str:
        """`<server id>_<timeline>_<time>`, for the id of the run that mends it."""
        return f"{self.server_id}_{self.timeline}_{self.opened_at:%Y%m%dT%H%M%S}"


def open_gap(area: Area) -> OpenGap | None:
    """The gaps as one that nobody asked a full backup for; None when there are none.

    Those that a restore makes wait until it has ended.
    """
    return _as_one([item for item in area.timelines() if _is_open(area, item[2])])


def claim_gap(settings: Settings, run_id: str) -> OpenGap | None:
    """Take it on to ask for a full backup; None when there is no gap, or another run has asked.

    All gaps that are open are claimed by this: one full backup mends them all.
    """
    area = Area(settings)
    with area.locked():
        for server_id, timeline, record in area.timelines():
            if _is_open(area, record):
                area.write_timeline(server_id, timeline, record.model_copy(update={"asked_by": run_id}))
    return claimed_gap(settings, run_id)


def claimed_gap(settings: Settings, run_id: str) -> OpenGap | None:
    """The gaps that this run has claimed, as one."""
    return _as_one([item for item in Area(settings).timelines() if item[2].asked_by == run_id])


def _is_open(area: Area, record: TimelineRecord) -> bool:
    at_work = area.unlogged()
    waits = record.gap.unlogged and at_work is not None and not at_work.given_up
    return record.asked_by is None and not waits


def _as_one(found: Sequence[tuple[int, str, TimelineRecord]]) -> OpenGap | None:
    """The newest gap, with the time from which the oldest one loses everything, and with what is to say of the others.

    Where a restore began is not said: its end says so.
    """
    if not found:
        return None
    server_id, timeline, record = found[-1]
    others = [item.gap for _, _, item in found[:-1] if not item.gap.unlogged]
    words = " ".join(dict.fromkeys([*(gap.words for gap in others), record.gap.words]))
    lost_from = next((item.gap.lost_from for _, _, item in found if item.gap.lost_from is not None), None)
    gap = record.gap.model_copy(update={"words": words, "lost_from": lost_from})
    return OpenGap(server_id=server_id, timeline=timeline, opened_at=record.opened_at, gap=gap)


def begin_unlogged(settings: Settings, connections: Connections, by: str, words: str) -> None:
    """End the timeline here, for the server is about to be changed in a way that its logs don't hold.

    Call it before the first change, and before each further try. `end_unlogged` has to follow.

    Args:
        settings: the site.
        connections: where its credentials are.
        by: who does it; the same for every try.
        words: what is done, such as `The restore ... of ...`.

    Raises:
        BackupError: the server can't be reached.
    """
    area = Area(settings)
    with area.locked(), server.connect(connections.database(settings.database.connection)) as connection:
        now, before = datetime.now(timezone.utc), area.unlogged()
        if before is None or before.by != by or before.given_up:
            said = f"{words} was begun at {_utc(now)}, which the server's logs do not hold."
            _break(area, connection, said, unlogged=True)
            area.write(Unlogged(by=by, begun_at=now, tried_at=now))
        else:
            area.write(before.model_copy(update={"tried_at": now}))


def end_unlogged(settings: Settings, connections: Connections, by: str, words: str) -> None:
    """Begin a timeline here, for what `begin_unlogged` told of is done: call it before others write again.

    The archive asks for a full backup. Called again it does nothing.
    """
    area = Area(settings)
    with area.locked(), server.connect(connections.database(settings.database.connection)) as connection:
        at_work = area.unlogged()
        if at_work is None:
            return
        own = at_work.by == by  # else another one was begun after it, and goes on
        since = f"from {_utc(at_work.begun_at)} " if own else ""
        said = f"{words} changed the server {since}to {_utc(datetime.now(timezone.utc))}, which its logs do not hold."
        _break(area, connection, said, unlogged=not own)
        if own:
            area.forget_unlogged()


def give_up_unlogged(area: Area, connection: server.Connection, hours: float) -> None:
    """Begin a timeline here when what `begin_unlogged` told of has not ended for so long: it failed for good."""
    at_work = area.unlogged()
    if at_work is None or at_work.given_up or datetime.now(timezone.utc) - at_work.tried_at < timedelta(hours=hours):
        return
    said = (
        f"The restore {at_work.by} changed the server from {_utc(at_work.begun_at)} on, which its logs do not hold, "
        f"and was not finished within {hours:g} hours."
    )
    _break(area, connection, said, unlogged=False)
    area.write(at_work.model_copy(update={"given_up": True}))


def _break(area: Area, connection: server.Connection, words: str, *, unlogged: bool) -> None:
    facts = server.facts(connection)
    if facts.log_bin:
        binlog.rotate(connection)
        current, _ = binlog.position(connection, facts.flavour)
        place = Break(server_id=facts.server_id, log=current, words=words, unlogged=unlogged)
        area.write(Breaks(places=(*area.breaks().places, place)))


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _found_again(
    settings: Settings, connections: Connections, area: Area, server_id: int, timeline: str
) -> TimelineRecord | None:
    """What this area does not know of a timeline, by its first sidecar: another host may have opened it."""
    for catalog in catalogues(settings, connections):
        place = Timeline(server_id, timeline)
        names = catalog.names(place)
        if not names:
            continue
        first = catalog.load(place, names[0])
        if first.gap is None:
            return None
        record = TimelineRecord(gap=first.gap, opened_at=first.archived_at, asked_by="another host")
        area.write_timeline(server_id, timeline, record)
        return record
    return None


def is_mended(settings: Settings, connections: Connections, area: Area, server_id: int, timeline: str) -> bool:
    """Whether what a timeline holds can be restored: it begins behind no gap, or a full backup was made since."""
    record = area.timeline(server_id, timeline) or _found_again(settings, connections, area, server_id, timeline)
    if record is None or record.mended_by is not None:
        return True
    if record.gap.unlogged:
        log.warning("No full backup mends this gap before it has ended: %s", record.gap.words)
        return False
    for repository in open_repositories(settings, connections):
        catalog = Catalog(repository, settings.signing.public_key_files, settings.site)
        for ref in catalog.sets():  # newest first
            if ref.cadence == SAFETY:
                continue
            try:
                manifest = catalog.load(ref)
            except BackupError as error:
                log.warning("%s can't mend the gap: %s", ref.name, error)
                continue
            if manifest.started_at < record.opened_at:
                break
            if manifest.server.id == server_id and any(item.name == DATABASE for item in manifest.components):
                area.write_timeline(server_id, timeline, record.model_copy(update={"mended_by": manifest.name}))
                return True
    log.warning("No full backup was made behind the gap: %s", record.gap.words)
    return False
