"""Sets of files in a repository, archived by GNU tar itself, encrypted by age and signed: what a restore finds."""

import base64
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
import zstandard

from spoqplus_backup.core.crypto import sign
from spoqplus_backup.core.manifest import (
    MANIFEST,
    SIGNATURE,
    Component,
    Compression,
    Encryption,
    Manifest,
    Part,
    Server,
)
from spoqplus_backup.core.recovery import restore as recovery
from spoqplus_backup.core.recovery.files import steps
from spoqplus_backup.core.recovery.plan import RestorePlan
from spoqplus_backup.core.recovery.planning import make_plan
from spoqplus_backup.core.recovery.request import validate_request
from spoqplus_backup.core.settings import Settings, load_settings
from support.connections import FixedConnections
from support.keys import age_pair, signing_pair

TAR = (
    *("tar", "--create", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--acls", "--xattrs"),
    *("--sparse", "--sparse-version=1.0"),
)
KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "character",
    tarfile.BLKTYPE: "block",
}


@dataclass
class FileSite:
    """A site that has files and no server: `source` is what is archived from, as if it were `/`."""

    directory: Path
    settings: Settings
    connections: FixedConnections = field(default_factory=FixedConnections)
    sets: int = 0
    runs: int = 0

    @property
    def source(self) -> Path:
        return self.directory / "source"

    @property
    def repository(self) -> Path:
        return self.directory / "repository"

    def archive(
        self,
        tops: Sequence[str],
        base: str | None = None,
        component: str = "uploads",
        part_bytes: int = 4096,
        cadence: str = "daily",
    ) -> str:
        """Archive the tops with GNU tar, on top of another set when one is named; returns the set's name."""
        snapshot = self.directory / f"snapshot-{self.sets}"
        if base is not None:
            snapshot.write_bytes((self.directory / f"{base.replace('/', '-')}.snar").read_bytes())
        command = [*TAR, f"--listed-incremental={snapshot}", "--no-check-device", "-C", str(self.source), "--", *tops]
        stream = subprocess.run(command, check=True, capture_output=True).stdout
        name = self.publish(stream, base=base, component=component, part_bytes=part_bytes, cadence=cadence)
        snapshot.rename(self.directory / f"{name.replace('/', '-')}.snar")
        return name

    def publish(
        self,
        stream: bytes,
        base: str | None = None,
        component: str = "uploads",
        part_bytes: int = 4096,
        index: Sequence[dict[str, Any]] | None = None,
        cadence: str = "daily",
    ) -> str:
        """Store a tar stream as a set, with an index of what is in it, or the one that is given."""
        self.sets += 1
        set_id = f"20260101_{self.sets:06d}"
        parts = cut(stream, part_bytes)
        lines = index_lines(stream, parts) if index is None else index
        header = {"format_version": 1, "component": component, "level": int(base is not None), "base": base}
        content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (header, *lines))
        now = datetime.now(timezone.utc)
        folder = f"{cadence}/{set_id}/{component}"
        made = Component(
            name=component,
            kind="files",
            content="tar",
            index=self._store(f"{folder}/index.jsonl", content.encode()),
            parts=tuple(self._store(f"{folder}/{n:06d}.tar", part) for n, part in enumerate(parts, 1)),
            started_at=now,
            finished_at=now,
            level=0 if base is None else 1,
            base=base,
            files=len(lines),
        )
        return self.sign(cadence, set_id, made, depends_on=() if base is None else (base,))

    def sign(self, cadence: str, set_id: str, *components: Component, depends_on: tuple[str, ...] = ()) -> str:
        now = datetime.now(timezone.utc)
        manifest = Manifest(
            site="spoqplus",
            cadence=cadence,
            id=set_id,
            run_id="test",
            started_at=now,
            finished_at=now,
            server=Server(flavour="mariadb", version="10.11.6-MariaDB", id=1),
            tools={},
            compression=Compression(level=3),
            encryption=Encryption(scheme="age", recipients=self.settings.encryption.recipients),
            components=components,
            depends_on=depends_on,
        )
        content = manifest.to_json()
        private = self.settings.signing.private_key_file
        assert private is not None
        (self.repository / manifest.name / SIGNATURE).write_bytes(sign(content, private))
        (self.repository / manifest.name / MANIFEST).write_bytes(content)
        return manifest.name

    def _store(self, key: str, raw: bytes) -> Part:
        recipients = [word for key in self.settings.encryption.recipients for word in ("-r", key)]
        packed = zstandard.ZstdCompressor(write_checksum=True).compress(raw)
        sealed = subprocess.run(["age", *recipients], input=packed, check=True, capture_output=True).stdout
        path = self.repository / f"{key}.zst.age"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sealed)
        return Part(
            name=path.name,
            raw_bytes=len(raw),
            raw_sha256=hashlib.sha256(raw).hexdigest(),
            stored_bytes=len(sealed),
            sha256=hashlib.sha256(sealed).hexdigest(),
        )

    def plan(self, **params: Any) -> RestorePlan:
        self.runs += 1
        request = validate_request(self.settings, {"components": ["uploads"], **params})
        return make_plan(self.settings, self.connections, request, f"test/restore-{self.runs}")

    def fetch(self, plan: RestorePlan) -> None:
        recovery.fetch(self.settings, self.connections, plan)

    def restore(self, generation: int = 1, **params: Any) -> RestorePlan:
        """A whole restore."""
        plan = self.plan(**params)
        self.fetch(plan)
        steps.restore_files(self.settings, self.connections, plan, generation)
        steps.set_ownership(self.settings, plan)
        recovery.verify_restored(self.settings, self.connections, plan)
        return plan


def make_file_site(directory: Path, **fields: Any) -> FileSite:
    """A site whose keys, staging area and repository lie in `directory`; `fields` go over the rest."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "source").mkdir()
    pair, signing = age_pair(directory), signing_pair(directory)
    content: dict[str, Any] = {
        "site": "spoqplus",
        "staging": {"directory": str(directory / "staging")},
        "repositories": [{"name": "local", "root": f"file://{directory}/repository"}],
        "encryption": {"recipients": [pair.recipient], "identity_files": [str(pair.identity_file)]},
        "signing": {"private_key_file": str(signing.private), "public_key_files": [str(signing.public)]},
        "slack": {"connection": None},
        "mirror": None,
        "restore": {"files_root": str(directory / "restored"), "ownership": {}},
    }
    path = directory / "site.yaml"
    path.write_text(yaml.safe_dump(content | fields))
    return FileSite(directory, load_settings(path))


def cut(stream: bytes, part_bytes: int) -> list[bytes]:
    """The stream in parts: none of them ends with a member, so that all of that has to be put together."""
    return [stream[at : at + part_bytes] for at in range(0, len(stream), part_bytes)]


def index_lines(stream: bytes, parts: Sequence[bytes]) -> list[dict[str, Any]]:
    """The index of a stream, read by Python's own tarfile."""
    size = len(parts[0])
    lines = []
    with tarfile.open(fileobj=io.BytesIO(stream), encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            raw = member.name.encode("utf-8", "surrogateescape")
            lines.append(
                {
                    "part": member.offset // size + 1,
                    "offset": member.offset % size,
                    "length": _length(stream, member),
                    "type": KINDS[member.type if member.type != tarfile.GNUTYPE_SPARSE else tarfile.REGTYPE],
                    **_named("path", raw),
                    "size": member.size if member.isreg() else 0,
                    "mode": member.mode,
                    "uid": member.uid,
                    "gid": member.gid,
                    "user": member.uname,
                    "group": member.gname,
                    "mtime": float(member.pax_headers.get("mtime", member.mtime)),
                    **(
                        _named("link", member.linkname.encode("utf-8", "surrogateescape"))
                        if member.issym() or member.islnk()
                        else {"link": None}
                    ),
                    "sha256": _digest(tar, member),
                }
            )
    return lines


def _length(stream: bytes, member: tarfile.TarInfo) -> int:
    """Headers and content; what is stored of a sparse file is less than its size."""
    header = stream.rindex(b"ustar\x0000", member.offset, member.offset_data) - 257
    stored = int(stream[header + 124 : header + 135], 8)
    return header + 512 - member.offset + -(-stored // 512) * 512


def _named(field_name: str, raw: bytes) -> dict[str, str]:
    try:
        return {field_name: raw.decode()}
    except UnicodeDecodeError:
        return {f"{field_name}_base64": base64.b64encode(raw).decode()}


def _digest(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str | None:
    if not member.isreg():
        return None
    file = tar.extractfile(member)
    assert file is not None
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # it reads and says so
