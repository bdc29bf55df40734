"""Repositories with a past: signed sets and logs of any age, made without a server."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml
import zstandard
from moto.s3.models import s3_backends

from spoqplus_backup.core.crypto import sign
from spoqplus_backup.core.manifest import (
    MANIFEST,
    SIGNATURE,
    BinlogRef,
    BinlogSegment,
    Component,
    Compression,
    Encryption,
    Manifest,
    Part,
    Server,
)
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.settings import Settings, load_settings
from support import s3
from support.connections import FixedConnections
from support.keys import SigningPair, signing_pair

RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"  # nobody has the private half
TIMELINE = "20250101_000000"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass
class Past:
    """A site whose repositories a test fills."""

    settings: Settings
    connections: FixedConnections
    keys: SigningPair
    folder: Path

    def repository(self, name: str = "local") -> Repository:
        return open_repository(self.settings, name, self.connections)

    def set_id(self, age: timedelta) -> str:
        return f"{(now() - age).astimezone(ZoneInfo(self.settings.timezone)):%Y%m%d_%H%M%S}"

    def publish(
        self,
        repository: Repository,
        cadence: str,
        age: timedelta,
        *,
        faces: Sequence[str] = (),
        keys: SigningPair | None = None,
        **fields: Any,
    ) -> str:
        """A set with a database of two small objects (none when incremental), `age` old; its name."""
        name = f"{cadence}/{self.set_id(age)}"
        at = now() - age
        components = () if cadence == "incremental" else (self.component(repository, name, at, "database"),)
        if faces:
            listed = zstandard.ZstdCompressor().compress("".join(f"{key}\n" for key in sorted(faces)).encode())
            components += (self.component(repository, name, at, "face_images", **{"objects.txt.zst": listed}),)
        values: dict[str, Any] = {
            "site": self.settings.site,
            "cadence": cadence,
            "id": name.partition("/")[2],
            "run_id": "test/run",
            "started_at": at,
            "finished_at": at + timedelta(minutes=1),
            "server": Server(flavour="mariadb", version="10.11", id=1),
            "tools": {},
            "compression": Compression(level=3),
            "encryption": Encryption(scheme="age"),
            "components": components,
        }
        content = Manifest(**(values | fields)).to_json()
        repository.put_bytes(f"{name}/{SIGNATURE}", sign(content, (keys or self.keys).private))
        repository.put_bytes(f"{name}/{MANIFEST}", content)
        self.age(repository, f"{name}/", age)
        return name

    def component(self, repository: Repository, name: str, at: datetime, label: str, **objects: bytes) -> Component:
        contents = {"000001.sql.zst.age": b"rows " * 100, **objects, "index.json.zst.age": b"index"}
        parts = []
        for part, content in contents.items():
            repository.put_bytes(f"{name}/{label}/{part}", content)
            parts.append(part_of(part, content))
        *others, index = parts
        return Component(
            name=label, kind="logical", content="dump", parts=tuple(others), index=index, started_at=at, finished_at=at
        )

    def unfinished(self, repository: Repository, cadence: str, age: timedelta) -> str:
        """What a run left that never published its set."""
        name = f"{cadence}/{self.set_id(age)}"
        repository.put_bytes(f"{name}/database/000001.sql.zst.age", b"rows " * 50)
        self.age(repository, f"{name}/", age)
        return name

    def log(self, repository: Repository, number: int, age: timedelta, **fields: Any) -> BinlogRef:
        """An archived log."""
        name, at = f"binlog.{number:06d}", now() - age
        values: dict[str, Any] = {
            "site": self.settings.site,
            "server": Server(flavour="mariadb", version="10.11", id=1),
            "timeline": TIMELINE,
            "name": name,
            "created_at": at,
            "archived_at": at,
            "log": part_of(f"{name}.zst.age", b"log"),
            "index": part_of(f"{name}.tables.json.zst.age", b"tables"),
            "end": 100,
            "closed": "rotate",
            "transactions": 1,
            "gtids_before": "",
            "gtids_after": "",
            "compression": Compression(level=3),
            "encryption": Encryption(scheme="age"),
        }
        segment = BinlogSegment(**(values | fields))
        content = segment.to_json()
        repository.put_bytes(f"{segment.key}.zst.age", b"log")
        repository.put_bytes(f"{segment.key}.tables.json.zst.age", b"tables")
        repository.put_bytes(f"{segment.key}.json.sig", sign(content, self.keys.private))
        repository.put_bytes(f"{segment.key}.json", content)
        self.age(repository, f"{segment.key}.", age)
        digest = hashlib.sha256(content).hexdigest()
        size = segment.log.stored_bytes + segment.index.stored_bytes
        return BinlogRef(key=segment.key, sha256=digest, raw_bytes=1, stored_bytes=size, transactions=1)

    def face(self, repository: Repository, number: int, age: timedelta) -> str:
        """A stored face image; its key."""
        name = hashlib.sha256(str(number).encode()).hexdigest()
        key = f"faces/{name[:2]}/{name}.zst.age"
        repository.put_bytes(key, b"face")
        self.age(repository, key, age)
        return key

    def age(self, repository: Repository, prefix: str, age: timedelta) -> None:
        """Make what was stored under a prefix so old for the repository."""
        if repository.url.startswith("file://"):
            moment = (now() - age).timestamp()
            for key in repository.list(prefix):
                os.utime(Path(repository.url.removeprefix("file://"), key), (moment, moment))
            return
        name, _, root = repository.url.removeprefix("s3://").partition("/")
        full = f"{root}/{prefix}" if root else prefix
        for _, versions in bucket(name).keys.iterlists():
            for version in versions:
                if version.name.startswith(full):
                    version.last_modified = (now() - age).replace(tzinfo=None)


def part_of(name: str, content: bytes) -> Part:
    digest = hashlib.sha256(content).hexdigest()
    return Part(name=name, raw_bytes=1, raw_sha256="0" * 64, stored_bytes=len(content), sha256=digest)


def bucket(name: str) -> Any:
    """moto's own bucket, whose objects' times no client can set."""
    return s3_backends["123456789012"]["aws"].buckets[name]


def make_past(folder: Path, endpoint: str | None = None, prefix: str = "test", **fields: Any) -> Past:
    """A site with a folder, and with moto's bucket when there is an endpoint; `fields` go over the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "repository").mkdir()
    keys = signing_pair(folder)
    repositories: list[dict[str, Any]] = [{"name": "local", "root": f"file://{folder}/repository"}]
    if endpoint is not None:
        root = f"s3://{s3.BUCKET}/{prefix}"
        repositories.append({"name": "s3", "root": root, "connection": "spoqplus_aws"})
    content: dict[str, Any] = {
        "language": "en",
        "staging": {"directory": str(folder / "staging")},
        "repositories": repositories,
        "encryption": {"recipients": [RECIPIENT]},
        "signing": {"private_key_file": str(keys.private), "public_key_files": [str(keys.public)]},
        "slack": {"connection": None},
    }
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(content | fields))
    records = [] if endpoint is None else [s3.record(endpoint)]
    return Past(load_settings(path), FixedConnections(*records), keys, folder)
