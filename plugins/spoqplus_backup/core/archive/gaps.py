"""What becomes of a gap: one run asks for a full backup because of it and ends red; that backup mends it.

Until then nothing behind the gap can be restored, whatever is archived, so the recovery point stays in front of it.
"""

import logging
from datetime import datetime

from spoqplus_backup.core.archive.area import Area, ChainBreak, TimelineRecord
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


def open_gap(area: Area, run_id: str | None = None) -> OpenGap | None:
    """The newest gap that nobody asked a full backup for; with `run_id` also the one that this run did."""
    for server_id, timeline, record in reversed(area.timelines()):
        if record.asked_by is None or record.asked_by == run_id:
            return OpenGap(server_id=server_id, timeline=timeline, opened_at=record.opened_at, gap=record.gap)
    return None


def claim_gap(settings: Settings, run_id: str) -> OpenGap | None:
    """Take it on to ask for a full backup; None when there is no gap, or another run has asked.

    All gaps that are open are claimed by this: one full backup mends them all.
    """
    area = Area(settings)
    with area.locked():
        found = open_gap(area, run_id)
        for server_id, timeline, record in area.timelines():
            if record.asked_by is None:
                area.write_timeline(server_id, timeline, record.model_copy(update={"asked_by": run_id}))
    return found


def claimed_gap(settings: Settings, run_id: str) -> OpenGap | None:
    """The gap that this run has claimed."""
    for server_id, timeline, record in reversed(Area(settings).timelines()):
        if record.asked_by == run_id:
            return OpenGap(server_id=server_id, timeline=timeline, opened_at=record.opened_at, gap=record.gap)
    return None


def note_break(settings: Settings, connections: Connections, words: str) -> None:
    """End the timeline here: the server was changed in a way that its logs don't hold, such as by a restore.

    Call it when the change is done, before others write again: the logs behind begin a new timeline, and the archive
    asks for a full backup. Nothing happens where no log was archived yet.

    Args:
        settings: the site.
        connections: where its credentials are.
        words: what was done, a sentence.

    Raises:
        BackupError: the server can't be reached.
    """
    area = Area(settings)
    with area.locked(), server.connect(connections.database(settings.database.connection)) as connection:
        facts = server.facts(connection)
        if facts.log_bin:
            binlog.rotate(connection)
            current, _ = binlog.position(connection, facts.flavour)
            noted = area.chain_break()
            # one that no run has seen yet stays: a backup that was taken between the two leads nowhere
            earlier = (*noted.earlier, noted.log) if noted and noted.server_id == facts.server_id else ()
            area.write(ChainBreak(server_id=facts.server_id, log=current, words=words, earlier=earlier))


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
