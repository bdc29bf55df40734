"""What a stage of the archive did."""

from spoqplus_backup.core.manifest import Gap, RecoveryPoint
from spoqplus_backup.core.notice import Notice
from spoqplus_backup.core.run import StageSummary

COMPONENT = "binlog"


class ArchiveSummary(StageSummary):
    """A stage's numbers, and what people have to know of it. `new_warnings` were not there at the last run."""

    component: str = COMPONENT
    gap: Gap | None = None
    recovery_point: RecoveryPoint | None = None
    warnings: tuple[Notice, ...] = ()
    new_warnings: tuple[Notice, ...] = ()
