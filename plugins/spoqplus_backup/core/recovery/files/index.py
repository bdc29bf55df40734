"""Reads the index of a component of files: a header, then a line for each member in the order of the archive.

`{"part": 1, "offset": 0, "length": 1536, "type": "file", "path": "var/www/...", "size": 3, "sha256": "...", ...}`
It is read line by line, decrypted and decompressed on the way, so memory does not grow with it.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.files.face_index import Attributes, ObjectKey
from spoqplus_backup.core.manifest import Part, Sha256
from spoqplus_backup.core.sealed import unsealed

BLOCK_BYTES = 1 << 20
MOST_LINE = 64 << 20
MOST_ID = 0xFFFFFFFE  # Linux' user and group ids; one more means "leave it"


class Entry(BaseModel):
    """A line. Names are bytes; `link` is a symlink's target, or the member that a hard link is another name of.

    `attributes` are those of what is an object of its own: an archive has them itself.

    `part` (from 1), `offset` (in that raw part) and `length` say where the member lies in an archive; of what is an
    object of its own, `key` says where it lies below the repository's root, with its size and checksum there.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    part: int = Field(default=0, ge=0)
    offset: int = Field(default=0, ge=0)
    length: int = Field(default=0, ge=0)
    type: str
    path: bytes
    size: int = Field(ge=0)
    mode: int = Field(ge=0, le=0o7777)
    uid: int = Field(ge=0, le=MOST_ID)
    gid: int = Field(ge=0, le=MOST_ID)
    user: str = ""
    group: str = ""
    mtime: float
    link: bytes | None = None
    attributes: Attributes | None = None
    sha256: Sha256 | None = None
    key: ObjectKey | None = None
    stored_bytes: int | None = None
    stored_sha256: Sha256 | None = None


def read_entries(path: Path, part: Part, scheme: Scheme) -> Iterator[Entry]:
    """The lines of a fetched index; `part` is what the manifest says of it.

    What was yielded may be believed when the last one was taken.

    Raises:
        WrongKeyError: the key at hand does not open it.
        IntegrityError: it is not what the manifest says, or a line can't be read.
    """
    lines = _lines(path, part, scheme)
    next(lines, None)  # the header
    for number, line in enumerate(lines, 2):
        try:
            yield Entry.model_validate(_with_bytes(json.loads(line)))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise _unreadable(path, number, f"{first['loc'][0]}: {first['msg']}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise _unreadable(path, number, str(error)) from error


def _with_bytes(line: dict[str, Any]) -> dict[str, Any]:
    """Names as bytes: as UTF-8 text, or, where they are none, in base64 under another key."""
    for name in ("path", "link"):
        encoded = line.pop(f"{name}_base64", None)
        if encoded is not None:
            line[name] = base64.b64decode(encoded, validate=True)
        elif line.get(name) is not None:
            line[name] = line[name].encode()
    return line


def _lines(path: Path, part: Part, scheme: Scheme) -> Iterator[bytes]:
    digest, rest = hashlib.sha256(), b""
    with unsealed(path, scheme) as reader:
        while block := reader.read(BLOCK_BYTES):
            digest.update(block)
            *whole, rest = (rest + block).split(b"\n")
            if len(rest) > MOST_LINE:
                raise IntegrityError(f"The index {path} has a line of more than {MOST_LINE} bytes.")
            yield from whole
    if digest.hexdigest() != part.raw_sha256:
        raise IntegrityError(f"The index {path} does not hold what the manifest says: restore from another repository.")
    if rest:
        raise IntegrityError(f"The index {path} ends in the middle of a line: restore another set.")


def _unreadable(path: Path, number: int, why: str) -> IntegrityError:
    return IntegrityError(f"The index {path} can't be read: line {number}: {why}.")
