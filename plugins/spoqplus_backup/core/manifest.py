"""The manifest of a backup set, its parts and its index: the models and their JSON.

A set lies in a repository as `<cadence>/<id>/manifest.json`, `manifest.json.sig` and `<component>/<part>`. The
manifest is written last: a set without one does not exist for a restore. Times are UTC, sizes bytes.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spoqplus_backup.core.errors import IntegrityError

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SafeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Flavour = Literal["mariadb", "mysql"]


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


class Component(Model):
    """One thing that was backed up. In order, `parts` are the dump to the byte; `index` says what lies where."""

    name: SafeName
    kind: Literal["logical"]
    content: Literal["dump", "accounts"]
    index: Part
    parts: tuple[Part, ...]
    started_at: datetime
    finished_at: datetime
    coordinates: Coordinates = Coordinates()
    counts: ObjectCounts = ObjectCounts()
    rows: int | None = None
    seconds: dict[str, float] = {}

    @property
    def raw_bytes(self) -> int:
        """Bytes before compression, all parts."""
        return sum(part.raw_bytes for part in self.parts)

    @property
    def stored_bytes(self) -> int:
        """Bytes in one repository, all parts and the index."""
        return sum(part.stored_bytes for part in self.objects)

    @property
    def objects(self) -> tuple[Part, ...]:
        """Everything of this component that lies in a repository."""
        return (*self.parts, self.index)


class Encryption(Model):
    """How the parts are encrypted. `recipients` are public keys; empty for `openssl`, which knows a password only."""

    scheme: Literal["age", "openssl"]
    recipients: tuple[str, ...] = ()


class Compression(Model):
    """How the parts are compressed."""

    method: Literal["zstd"] = "zstd"
    level: int


class Previous(Model):
    """The set of the same cadence that was published before this one; `sha256` is its manifest's."""

    id: SafeName
    sha256: Sha256


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
    depends_on: tuple[SafeName, ...] = ()
    previous: Previous | None = None
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
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise IntegrityError(f"The manifest {where} can't be read: {field}: {first['msg']}.") from error


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
