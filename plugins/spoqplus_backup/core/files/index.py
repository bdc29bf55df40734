"""The index of a file component: `index.jsonl`, a line of JSON for each member of its tar, behind a header line.

A name that is no UTF-8 stands as `path_base64` (`link_base64`) in place of `path` (`link`). `offset` and `length` are
those of the raw parts; a line is written as soon as its member is whole, so it is as long as the tree and never held.
"""

import base64
import json
from typing import IO, Any

from spoqplus_backup.core.files.tar_cutter import Member
from spoqplus_backup.core.manifest import Model, SetName

INDEX = "index.jsonl"


class IndexHeader(Model):
    """The first line: what the archive is of. `base` is the set that an archive of `level` 1 stands on."""

    format_version: int = 1
    component: str
    level: int
    base: SetName | None
    paths: tuple[str, ...]
    exclude: tuple[str, ...]


class IndexWriter:
    """Writes the lines of an index into an open file."""

    def __init__(self, file: IO[bytes], header: IndexHeader) -> None:
        self._file = file
        file.write(header.model_dump_json().encode() + b"\n")

    def add(self, member: Member) -> None:
        """Write a member's line."""
        line: dict[str, Any] = {
            "part": member.part,
            "offset": member.offset,
            "length": member.length,
            "type": member.type,
            **_named("path", member.path),
            "size": member.size,
            "mode": member.mode,
            "uid": member.uid,
            "gid": member.gid,
            "user": member.user.decode("utf-8", "replace"),
            "group": member.group.decode("utf-8", "replace"),
            "mtime": member.mtime,
            **(_named("link", member.link) if member.link is not None else {"link": None}),
            "sha256": member.sha256,
        }
        self._file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def _named(field: str, name: bytes) -> dict[str, str]:
    try:
        return {field: name.decode()}
    except UnicodeDecodeError:
        return {f"{field}_base64": base64.b64encode(name).decode()}
