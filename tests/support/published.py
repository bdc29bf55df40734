"""Published sets without a database server: signed manifests over objects that hold what they say."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

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
from spoqplus_backup.core.repository.base import Repository

MOMENT = datetime(2025, 1, 1, 18, tzinfo=timezone.utc)
PARTS = ("000001.sql.zst.age", "000002.sql.zst.age", "index.json.zst.age")


def content_of(name: str, part: str) -> bytes:
    """What an object of a set holds: nobody but that set has it."""
    return f"{name}/{part} ".encode() * 100


def manifest_of(name: str, **fields: Any) -> Manifest:
    """A set with the component `database` of two parts and their index."""
    cadence, _, set_id = name.partition("/")

    def part(part_name: str) -> Part:
        content = content_of(name, part_name)
        digest = hashlib.sha256(content).hexdigest()
        return Part(name=part_name, raw_bytes=9000, raw_sha256="0" * 64, stored_bytes=len(content), sha256=digest)

    component = Component(
        name="database",
        kind="logical",
        content="dump",
        index=part(PARTS[-1]),
        parts=tuple(part(part_name) for part_name in PARTS[:-1]),
        started_at=MOMENT,
        finished_at=MOMENT,
    )
    values: dict[str, Any] = {
        "site": "spoqplus",
        "cadence": cadence,
        "id": set_id,
        "run_id": "test/run",
        "started_at": MOMENT,
        "finished_at": MOMENT + timedelta(minutes=3),
        "server": Server(flavour="mariadb", version="10.11.6", id=1),
        "tools": {},
        "compression": Compression(level=3),
        "encryption": Encryption(scheme="age"),
        "components": (component,),
    }
    return Manifest(**(values | fields))


def publish_in(repositories: Sequence[Repository], signing_key: Path, manifest: Manifest) -> None:
    """Store a set as the chain does, the manifest last."""
    for repository in repositories:
        for key in manifest.objects():
            part = key.rpartition("/")[2]
            repository.put_bytes(f"{manifest.name}/{key}", content_of(manifest.name, part))
        repository.put_bytes(f"{manifest.name}/{SIGNATURE}", sign(manifest.to_json(), signing_key))
        repository.put_bytes(f"{manifest.name}/{MANIFEST}", manifest.to_json())
