"""The index of the face images of a set: a line of JSON for each file, folder and link, after a line about all of them.

It is encrypted as every part, so names are known only to who may restore. Beside it lie two lists that anybody may read
who can read the repository, because they say nothing: which objects the set needs, for retention (`objects.txt`), and
their checksums, for copies and checks (`objects.sha256`, in the form that `sha256sum --check` reads).
"""

import base64
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import Model, Sha256

INDEX = "index.jsonl"
OBJECTS = "objects.txt"
CHECKSUMS = "objects.sha256"
FOLDER = "faces"

Attributes = dict[Annotated[str, Field(pattern=r"^(user\.|system\.posix_acl_)")], str]
"""Extended attributes and access lists of Linux by their names, values in base64."""
ObjectKey = Annotated[str, Field(pattern=rf"^{FOLDER}/[0-9a-f]{{2}}/[0-9a-f]{{64}}\.zst(\.age|\.enc)?$")]


class FaceHeader(Model):
    """The first line: how many entries follow, and the folder that was backed up, relative to `/`."""

    format: Literal["spoqplus-faces"] = "spoqplus-faces"
    version: Literal[1] = 1
    root: str | None = None
    root_base64: str | None = None
    files: int
    entries: int

    def line(self) -> bytes:
        """As it stands in the index."""
        return self.model_dump_json(exclude_none=True).encode() + b"\n"


class FaceEntry(Model):
    """One file, folder or link. `path` is relative to `/`, `mtime` seconds since 1970, `size` bytes.

    A path or target that is no UTF-8 is in `path_base64` or `link_base64` instead. Only files have `sha256` (of their
    content) and an object: `key` below the repository's root, with size and checksum of what is stored there.
    """

    type: Literal["file", "directory", "symlink"]
    path: str | None = None
    path_base64: str | None = None
    size: int = 0
    mode: int
    uid: int
    gid: int
    user: str = ""
    group: str = ""
    mtime: float
    link: str | None = None
    link_base64: str | None = None
    attributes: Attributes | None = None
    sha256: Sha256 | None = None
    key: ObjectKey | None = None
    stored_bytes: int | None = None
    stored_sha256: Sha256 | None = None

    @property
    def path_bytes(self) -> bytes:
        """The path as the file system has it, relative to `/`."""
        return _bytes(self.path, self.path_base64)

    @property
    def link_bytes(self) -> bytes:
        """Where a symbolic link points."""
        return _bytes(self.link, self.link_base64)

    def line(self) -> bytes:
        """As it stands in the index."""
        return self.model_dump_json(exclude_none=True).encode() + b"\n"


def text_or_base64(name: str, value: bytes) -> dict[str, str]:
    """The field for bytes that may be no UTF-8: `name`, or `name_base64`."""
    try:
        return {name: value.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}


def read_index(lines: Iterable[bytes], where: str) -> Iterator[FaceEntry]:
    """The entries of an index, in its order: folders before what is in them.

    Args:
        lines: the decrypted, decompressed index.
        where: names it in errors.

    Raises:
        IntegrityError: a line can't be read, or the index is cut off.
    """
    header: FaceHeader | None = None
    count = 0
    for number, line in enumerate(lines, 1):
        try:
            if header is None:
                header = FaceHeader.model_validate_json(line)
                continue
            entry = FaceEntry.model_validate_json(line)
        except ValidationError as error:
            raise IntegrityError(f"{where} is damaged: line {number} is no entry of an index.") from error
        count += 1
        yield entry
    if header is None or count != header.entries:
        expected = header.entries if header else "any"
        raise IntegrityError(f"{where} is cut off: it has {count} of {expected} entries.")


def read_checksum(line: bytes, where: str) -> tuple[str, str]:
    """The object key and its SHA-256 of a line of `objects.sha256`."""
    digest, _, key = line.decode("ascii", "replace").rstrip("\n").partition("  ")
    if len(digest) != 64 or not key.startswith(f"{FOLDER}/"):
        raise IntegrityError(f"{where} is damaged: {line[:80]!r} is no line of checksums.")
    return key, digest


def _bytes(text: str | None, encoded: str | None) -> bytes:
    if encoded is not None:
        return base64.b64decode(encoded)
    return (text or "").encode()
