"""The index is lines of JSON, whatever a file is called."""

import base64
import io
import json

from spoqplus_backup.core.files.index import IndexHeader, IndexWriter
from spoqplus_backup.core.files.tar_cutter import Member

MEMBER = Member(
    part=1,
    offset=512,
    length=1536,
    type="file",
    path=b"var/www/a",
    size=3,
    mode=0o640,
    uid=33,
    gid=34,
    user=b"www-data",
    group=b"adm",
    mtime=1700000000.123,
    link=None,
    sha256="0" * 64,
)


def lines(*members: Member) -> list[bytes]:
    file = io.BytesIO()
    header = IndexHeader(component="uploads", level=1, base="weekly/1", paths=("/var/www",), exclude=("*.tmp",))
    index = IndexWriter(file, header)
    for member in members:
        index.add(member)
    assert file.getvalue().endswith(b"\n")
    return file.getvalue().splitlines()


def test_the_first_line_says_what_it_is_of() -> None:
    (first,) = lines()
    assert json.loads(first) == {
        "format_version": 1,
        "component": "uploads",
        "level": 1,
        "base": "weekly/1",
        "paths": ["/var/www"],
        "exclude": ["*.tmp"],
    }


def test_a_line_for_each_member() -> None:
    _, line = lines(MEMBER)
    assert json.loads(line) == {
        "part": 1,
        "offset": 512,
        "length": 1536,
        "type": "file",
        "path": "var/www/a",
        "size": 3,
        "mode": 416,
        "uid": 33,
        "gid": 34,
        "user": "www-data",
        "group": "adm",
        "mtime": 1700000000.123,
        "link": None,
        "sha256": "0" * 64,
    }


def test_names_of_any_bytes() -> None:
    names = ["회원\n사진".encode(), b"caf\xe9", b'"\\\t', "\u2028".encode()]
    _, *found = [json.loads(line) for line in lines(*(MEMBER._replace(path=name, link=name) for name in names))]
    for name, line in zip(names, found, strict=True):
        for field in ("path", "link"):
            stored = line.get(field)
            assert name == (stored.encode() if stored is not None else base64.b64decode(line[f"{field}_base64"]))
            assert (field in line) != (f"{field}_base64" in line)
