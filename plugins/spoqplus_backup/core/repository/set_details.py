"""What is told of a set without opening its manifest again: a line of a list, and all that its own page shows."""

from datetime import datetime

from spoqplus_backup.core.manifest import (
    BinlogRange,
    Component,
    ComponentContent,
    ComponentKind,
    Coordinates,
    Encryption,
    Manifest,
    Model,
    Server,
)


class ComponentDetails(Model):
    """What is shown of a component. Sizes in bytes, without shared objects; `seconds` by the stage of its chain.

    `encryption` is there where it is another than the set's.
    """

    name: str
    kind: ComponentKind
    parts: int
    stored_bytes: int
    raw_bytes: int
    seconds: dict[str, float] = {}
    level: int | None = None
    base: str | None = None
    content: ComponentContent | None = None
    rows: int | None = None
    files: int | None = None
    encryption: Encryption | None = None


class SetDetails(Model):
    """What a list shows of a manifest. Sizes in bytes; `contents` are components, or the logs of an incremental set.

    `rpo_seconds` is what would have been lost at `measured_at`, when the set was made.
    """

    sha256: str
    started_at: datetime
    finished_at: datetime
    stored_bytes: int
    raw_bytes: int
    server: str
    contents: tuple[str, ...]
    logs: int = 0
    transactions: int = 0
    depends_on: tuple[str, ...] = ()
    components: tuple[ComponentDetails, ...] = ()
    run_id: str = ""
    measured_at: datetime | None = None
    rpo_seconds: float | None = None

    @property
    def seconds(self) -> float:
        """How long the backup took."""
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage, all components together."""
        found: dict[str, float] = {}
        for component in self.components:
            for stage, seconds in component.seconds.items():
                found[stage] = found.get(stage, 0.0) + seconds
        return {stage: round(seconds, 3) for stage, seconds in found.items()}


class SetContents(Model):
    """What a set's own page shows besides its `SetDetails`."""

    server: Server
    tools: dict[str, str]
    encryption: Encryption
    binlog_range: BinlogRange | None = None
    warnings: tuple[str, ...] = ()


def details_of(manifest: Manifest, sha256: str) -> SetDetails:
    """What a list shows."""
    logs, point = manifest.binlogs, manifest.recovery_point
    return SetDetails(
        sha256=sha256,
        run_id=manifest.run_id,
        started_at=manifest.started_at,
        finished_at=manifest.finished_at,
        stored_bytes=manifest.stored_bytes + sum(ref.stored_bytes for ref in logs),
        raw_bytes=manifest.raw_bytes + sum(ref.raw_bytes for ref in logs),
        server=f"{manifest.server.flavour} {manifest.server.version}",
        contents=tuple(component.name for component in manifest.components),
        logs=len(logs),
        transactions=sum(ref.transactions for ref in logs),
        depends_on=manifest.depends_on,
        components=tuple(map(_component, manifest.components)),
        measured_at=point.measured_at if point else None,
        rpo_seconds=point.seconds if point else None,
    )


def contents_of(manifest: Manifest) -> SetContents:
    """What a set's own page shows; the coordinates are those of the whole database, where the set has it."""
    return SetContents(
        server=manifest.server.model_copy(update={"coordinates": _coordinates(manifest)}),
        tools=manifest.tools,
        encryption=manifest.encryption,
        binlog_range=manifest.binlog_range,
        warnings=manifest.warnings,
    )


def _coordinates(manifest: Manifest) -> Coordinates:
    if manifest.binlog_range is not None:
        return manifest.binlog_range.end
    found = (item.coordinates for item in manifest.components if item.coordinates.file is not None)
    return next(found, manifest.server.coordinates)


def _component(component: Component) -> ComponentDetails:
    return ComponentDetails(
        name=component.name,
        kind=component.kind,
        content=component.content,
        parts=len(component.parts),
        stored_bytes=component.stored_bytes,
        raw_bytes=component.raw_bytes,
        seconds=component.seconds,
        level=component.level,
        base=component.base,
        rows=component.rows,
        files=component.files,
        encryption=component.encryption,
    )
