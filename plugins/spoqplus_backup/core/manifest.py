"""The manifest of a backup set, its parts and its index: the models and their JSON.

A set lies in a repository as `<cadence>/<id>/manifest.json`, `manifest.json.sig` and `<component>/<part>`. The
manifest is written last: a set without one does not exist for a restore. Times are UTC, sizes bytes.
"""

import json
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spoqplus_backup.core.errors import IntegrityError, NewerFormatError

FORMAT = 1  # of what is written; everything from 1 on is read (docs/upgrading.md)
MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SafeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
SetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")]
Flavour = Literal["mariadb", "mysql"]
ComponentKind = Literal["logical", "files"]
ComponentContent = Literal["dump", "accounts", "tar", "environment", "objects"]
SchemeName = Literal["age", "openssl", "gpg", "none"]
Read = TypeVar("Read", bound=BaseModel)


class Model(BaseModel):
    """Strict and frozen: an unknown field in a manifest is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Coordinates(Model):
    """Where in the binary logs a snapshot stands; `gtid` is MySQL's executed set or MariaDB's position."""

    file: str | None = None
    position: int | None = None
    gtid: str | None = None


class Server(Model):
    """The server that was backed up."""

    flavour: Flavour
    version: str
    id: int
    uuid: str | None = None
    coordinates: Coordinates = Coordinates()


class Part(Model):
    """One stored object of a component. `raw_*` is before compression, the others are of what is stored."""

    name: SafeName
    raw_bytes: int = Field(ge=0)
    raw_sha256: Sha256
    stored_bytes: int = Field(ge=0)
    sha256: Sha256


class ObjectCounts(Model):
    """How many objects of each kind a dump holds."""

    databases: int = 0
    tables: int = 0
    views: int = 0
    triggers: int = 0
    routines: int = 0
    events: int = 0
    sequences: int = 0
    accounts: int = 0


class Encryption(Model):
    """How the parts are encrypted. `recipients` are public keys; empty for `openssl`, which knows a password only."""

    scheme: SchemeName
    recipients: tuple[str, ...] = ()


class SharedObjects(Model):
    """What a component needs beside its own folder: objects that several sets name. Its `lists` have their keys.

    `raw_bytes` is the size of all files, each time they occur; `count` and `stored_bytes` are of the objects.
    """

    count: int
    raw_bytes: int
    stored_bytes: int


class Component(Model):
    """One thing that was backed up. In order, `parts` are the dump (or tar) to the byte; `index` says what lies where.

    `kind` is how it was made, `content` what the parts are. Of files, `level` 1 is what changed since the set `base`
    (`<cadence>/<id>`), without which it can't be restored; `files` counts what is in it. `lists` are not encrypted:
    what a host that can't read the index has to know of the objects in `shared`.
    """

    name: SafeName
    kind: ComponentKind
    content: ComponentContent
    index: Part
    parts: tuple[Part, ...]
    lists: tuple[Part, ...] = ()
    started_at: datetime
    finished_at: datetime
    coordinates: Coordinates = Coordinates()
    counts: ObjectCounts = ObjectCounts()
    rows: int | None = None
    level: Literal[0, 1] | None = None
    base: SetName | None = None
    files: int | None = None
    shared: SharedObjects | None = None
    encryption: Encryption | None = None
    """Where it is another than the set's."""
    seconds: dict[str, float] = {}

    @property
    def raw_bytes(self) -> int:
        """Bytes before compression, all parts."""
        return sum(part.raw_bytes for part in self.parts)

    @property
    def stored_bytes(self) -> int:
        """Bytes in one repository, all parts, lists and the index; not those of shared objects."""
        return sum(part.stored_bytes for part in self.objects)

    @property
    def objects(self) -> tuple[Part, ...]:
        """Everything of this component that lies in a repository."""
        return (*self.lists, *self.parts, self.index)


class Compression(Model):
    """How the parts are compressed."""

    method: Literal["zstd"] = "zstd"
    level: int


class Previous(Model):
    """The set of the same cadence that was published before this one; `sha256` is its manifest's."""

    id: SafeName
    sha256: Sha256


class Gap(Model):
    """Why a timeline of binary logs begins: what is between it and the one before can't be restored by logs.

    `lost_from` is the time of the last archived transaction, `lost_until` that of the first one of the new timeline;
    either is None where it is not known. `unlogged`: while the timeline goes on, the server is changed in ways that
    its logs don't hold, so no log leads on from a full backup that was taken meanwhile.
    """

    reason: Literal["reset", "purged", "server", "history"]
    after: str | None = None
    lost_from: datetime | None = None
    lost_until: datetime | None = None
    unlogged: bool = False
    words: str


class BinlogSegment(Model):
    """One archived binary log: what its sidecar says. Positions are offsets in the raw log, times those of commits.

    A log lies in a repository as `binlog/<server id>/<timeline>/<name>.zst.age`; beside it the index (which tables it
    is about), this sidecar (`<name>.json`) and its signature, the sidecar last: a log without one does not exist.
    """

    format_version: Literal[1] = 1
    site: SafeName
    server: Server
    timeline: SafeName
    name: SafeName
    created_at: datetime
    archived_at: datetime
    log: Part
    index: Part
    end: int
    """Where its last whole transaction ends."""
    closed: Literal["rotate", "stop", "crash"]
    closed_at: datetime | None = None
    """When its server ended it, to the second: what was committed before is in here; None when the server died."""
    truncated: bool = False
    """It ends in the middle of a transaction: its server died."""
    transactions: int
    first_at: datetime | None = None
    last_at: datetime | None = None
    earliest_at: datetime | None = None
    latest_at: datetime | None = None
    gtids_before: str
    gtids_after: str
    gtids_unlogged: str | None = None
    """MySQL's: transactions that the server had executed and that are in no log; None where that was not asked."""
    previous: Previous | None = None
    """The log before it in the timeline and the SHA-256 of that log's sidecar; None for the first."""
    gap: Gap | None = None
    compression: Compression
    encryption: Encryption

    @property
    def folder(self) -> str:
        """Where it lies below a repository's root."""
        return binlog_folder(self.server.id, self.timeline)

    @property
    def key(self) -> str:
        """`binlog/<server id>/<timeline>/<name>`: its own name in messages, and what its objects' keys begin with."""
        return f"{self.folder}/{self.name}"

    def to_json(self) -> bytes:
        """The bytes that are signed and stored."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "BinlogSegment":
        """Read a sidecar; `where` names it in the error."""
        return _read(cls, content, f"sidecar {where}")


def binlog_folder(server_id: int, timeline: str) -> str:
    """Where the logs of a timeline lie below a repository's root."""
    return f"binlog/{server_id}/{timeline}"


class BinlogTables(Model):
    """The index of an archived log: for each table how many events of which kind, encrypted as the log is."""

    tables: tuple[tuple[str, str, dict[str, int]], ...]
    statements: int
    """Transactions that are a statement of their own, such as those that change definitions."""


class BinlogRef(Model):
    """An archived log that a set is made of. `sha256` is the sidecar's, which holds everything else."""

    key: str
    sha256: Sha256
    raw_bytes: int
    stored_bytes: int
    transactions: int
    first_at: datetime | None = None
    last_at: datetime | None = None


class BinlogRange(Model):
    """From where to where the logs of an incremental set lead, without a gap. `after` is the set they follow."""

    after: SafeName
    after_cadence: SafeName
    start: Coordinates
    end: Coordinates
    timeline: str


class RecoveryPoint(Model):
    """How much would be lost if the server were gone at `measured_at`: everything behind `complete_until`.

    `last_event_at` is the newest archived transaction's time; a server on which nothing is written is complete until
    the moment it was last looked at.
    """

    measured_at: datetime
    last_event_at: datetime | None
    complete_until: datetime | None

    @property
    def seconds(self) -> float | None:
        """The measured RPO; None when nothing was ever archived."""
        if self.complete_until is None:
            return None
        return max(0.0, (self.measured_at - self.complete_until).total_seconds())


class Manifest(Model):
    """A backup set: what it holds, of which server, how to read it, and what came before it."""

    format_version: Literal[1] = 1
    site: SafeName
    cadence: SafeName
    id: SafeName
    run_id: str
    started_at: datetime
    finished_at: datetime
    server: Server
    tools: dict[str, str]
    compression: Compression
    encryption: Encryption
    components: tuple[Component, ...]
    depends_on: tuple[SetName, ...] = ()
    """The sets, as `<cadence>/<id>`, without which this one can't be restored."""
    previous: Previous | None = None
    binlogs: tuple[BinlogRef, ...] = ()
    binlog_range: BinlogRange | None = None
    recovery_point: RecoveryPoint | None = None
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`<cadence>/<id>`: the set's folder under a repository's root."""
        return f"{self.cadence}/{self.id}"

    @property
    def raw_bytes(self) -> int:
        """Bytes before compression."""
        return sum(component.raw_bytes for component in self.components)

    @property
    def stored_bytes(self) -> int:
        """Bytes in one repository, without the manifest."""
        return sum(component.stored_bytes for component in self.components)

    def component(self, name: str) -> Component:
        """The component of that name; `IntegrityError` when the set has none."""
        for component in self.components:
            if component.name == name:
                return component
        names = ", ".join(component.name for component in self.components)
        raise IntegrityError(f"The set {self.name} has no component {name}; it has {names}.")

    def objects(self) -> dict[str, Part]:
        """Every stored object of the set by its key relative to the set's folder."""
        return {f"{component.name}/{part.name}": part for component in self.components for part in component.objects}

    def to_json(self) -> bytes:
        """The bytes that are signed and stored."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "Manifest":
        """Read a manifest; `where` names it in the error."""
        return _read(cls, content, f"manifest {where}")


def _read(model: type[Read], content: bytes, what: str) -> Read:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        _refuse_newer(content, what)
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise IntegrityError(f"The {what} can't be read: {field}: {first['msg']}.") from error


def _refuse_newer(content: bytes, what: str) -> None:
    try:
        told = json.loads(content)
    except ValueError:
        return
    version = told.get("format_version") if isinstance(told, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise NewerFormatError(
            f"The {what} has the format {version}, which a newer version of this project wrote; this one reads up to "
            f"{FORMAT}. Nothing is wrong with it: install the version that wrote it (docs/upgrading.md), or take an "
            "older backup."
        )


SegmentKind = Literal[
    "header", "database", "structure", "rows", "triggers", "events", "routines", "views", "footer", "accounts", "grants"
]


class Segment(Model):
    """A run of bytes of one kind in one part: `length` bytes from `offset` of the raw (uncompressed) part.

    `database` and `table` are None where the bytes belong to none. The segments of all parts, in order, cover the
    dump without a gap.
    """

    part: int
    offset: int
    length: int
    kind: SegmentKind
    database: str | None = None
    table: str | None = None
    rows: int = 0


ObjectKind = Literal[
    "table", "view", "sequence", "trigger", "function", "procedure", "package", "library", "event", "account"
]


class DumpObject(Model):
    """An object that the dump holds, as the server's own catalogue knew it at the time of the dump."""

    kind: Literal[
        "table", "view", "trigger", "function", "procedure", "package", "library", "event", "sequence", "account"
    ]
    database: str
    name: str
    table: str | None = None
    rows: int | None = None


class Index(Model):
    """What lies where in a dump's parts, and everything that has to exist after it was restored."""

    segments: tuple[Segment, ...]
    objects: tuple[DumpObject, ...]
    databases: tuple[str, ...]
