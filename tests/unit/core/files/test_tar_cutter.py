"""The cutter reads what Python's tarfile and GNU tar write, and tells of it what tarfile tells."""

import hashlib
import io
import itertools
import os
import subprocess
import tarfile
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.files.tar_cutter import Member, TarCutter, Totals
from spoqplus_backup.core.files.tar_stream import TarStream, TruncatedError
from spoqplus_backup.core.part_writer import PartWriter

BLOCK = 512
TYPES = {
    tarfile.REGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.FIFOTYPE: "fifo",
}


def reader(content: bytes, pieces: int) -> Callable[[memoryview], int]:
    """Reads as a pipe does: so many bytes at most."""
    stream = io.BytesIO(content)
    return lambda buffer: stream.readinto(buffer[:pieces])


def cut(content: bytes, part_bytes: int = 1 << 20, pieces: int = 1 << 16) -> tuple[list[Member], list[bytes], Totals]:
    """Members, parts and totals."""
    members: list[Member] = []
    with tempfile.TemporaryDirectory() as folder:
        cutter = TarCutter(
            TarStream(reader(content, pieces)), PartWriter(Path(folder), suffix=".tar"), part_bytes, members.append
        )
        cutter.run()
        parts = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    return members, parts, cutter.totals


def expected(content: bytes) -> list[tuple[object, ...]]:
    """What tarfile says of each member."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return [
            (
                TYPES[info.type],
                os.fsencode(info.pax_headers.get("GNU.sparse.name", info.name)),  # tarfile prefers `path`, GNU tar this
                info.size if info.isreg() else 0,
                info.mode,
                info.uid,
                info.gid,
                info.uname.encode(),
                info.gname.encode(),
                pytest.approx(info.mtime, rel=1e-12, abs=1e-6),
                os.fsencode(info.linkname) if info.issym() or info.islnk() else None,
                _sha256(tar, info) if info.isreg() else None,
            )
            for info in tar
        ]


def _sha256(tar: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    file = tar.extractfile(info)
    assert file is not None
    return hashlib.sha256(file.read()).hexdigest()


def told(member: Member) -> tuple[object, ...]:
    return tuple(member[3:])


def check(content: bytes, part_bytes: int, pieces: int) -> None:
    """Everything that has to hold of any tar."""
    members, parts, totals = cut(content, part_bytes, pieces)
    assert b"".join(parts) == content, "in order, concatenated, the parts are the tar to the byte"
    assert totals.raw_bytes == len(content)
    assert all(len(part) <= part_bytes for part in parts)
    assert [told(member) for member in members] == expected(content)
    starts = [0, *itertools.accumulate(map(len, parts))]
    places = [starts[member.part - 1] + member.offset for member in members]
    lengths = [member.length for member in members]
    assert places == [0, *itertools.accumulate(lengths)][: len(places)], "no byte is between two members"
    for member, place in zip(members, places, strict=True):
        alone = content[place : place + member.length] + bytes(2 * BLOCK)
        with tarfile.open(fileobj=io.BytesIO(alone)) as tar:
            (info,) = tar.getmembers()
            name = info.pax_headers.get("GNU.sparse.name", info.name)
            assert os.fsencode(name) == member.path, "each can be read by itself"
        fits = member.length <= part_bytes
        assert not fits or member.offset + member.length <= len(parts[member.part - 1]), "what fits is not cut"


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
    | st.sampled_from(["\n", " ", "=", "한", "\\", "\udcff", "."]),
    min_size=1,
    max_size=200,
).filter(lambda name: name not in (".", "..") and len(os.fsencode(name)) < 250)


@st.composite
def infos(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo("/".join(draw(st.lists(NAMES, min_size=1, max_size=3))))
    info.type = draw(st.sampled_from(list(TYPES)))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(st.integers(0, 1 << 40)), draw(st.integers(0, 1 << 22))
    info.uname, info.gname = draw(st.sampled_from(["", "www-data", "회원"])), "users"
    info.mtime = draw(st.integers(-5, 1 << 35) | st.floats(0, 4e9, width=32))
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = draw(NAMES)
    content = draw(st.binary(max_size=3000)) if info.isreg() else b""
    info.size = len(content)
    info.pax_headers = draw(
        st.dictionaries(
            st.sampled_from(["SCHILY.xattr.user.a", "comment"]),
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=2000),
            max_size=2,
        )
    )
    return info, content


@settings(deadline=None, max_examples=60)
@given(st.lists(infos(), max_size=8), st.integers(1, 20) | st.just(2000), st.sampled_from([1, 511, 4096, 1 << 20]))
def test_any_tar(members: list[tuple[tarfile.TarInfo, bytes]], part_blocks: int, pieces: int) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    check(file.getvalue(), part_blocks * BLOCK, pieces)


FILES = st.one_of(
    st.binary(max_size=5000),
    st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=100), st.integers(0, 300)),  # holes: KiB, data, KiB
)
NODES = st.recursive(FILES, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6)
TREES = st.dictionaries(NAMES, NODES)


def plant(folder: Path, tree: dict[str, object]) -> None:
    folder.mkdir()
    for name, node in tree.items():
        if isinstance(node, dict):
            plant(folder / name, node)
            continue
        with (folder / name).open("wb") as file:
            if isinstance(node, tuple):
                before, data, after = node
                file.seek(before * 1024)
                file.write(data)
                file.truncate((before + after) * 1024 + len(data))
            else:
                assert isinstance(node, bytes)
                file.write(node)


def gnu_tar(folder: Path) -> bytes:
    options = ["--format=posix", "--sparse", "--sparse-version=1.0", f"--listed-incremental={folder}/snapshot"]
    command = ["tar", "--create", *options, "--file=-", f"--directory={folder}", "t"]
    return subprocess.run(command, check=True, capture_output=True).stdout


@settings(deadline=None, max_examples=25)
@given(TREES, st.integers(1, 40))
def test_any_tree_that_gnu_tar_archives(tree: dict[str, object], part_blocks: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plant(Path(folder, "t"), tree)
        content = gnu_tar(Path(folder))
        check(content, part_blocks * BLOCK, 1 << 16)
        assert cut(content)[2].listed == sum(len(files) for _, _, files in os.walk(f"{folder}/t"))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_tar_that_ends_anywhere_is_truncated(data: st.DataObject) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("a", "한글" * 60):
            info = tarfile.TarInfo(name)
            info.size = 700
            tar.addfile(info, io.BytesIO(bytes(700)))
        end = tar.offset
    whole = file.getvalue()
    at = data.draw(st.integers(0, end + 2 * BLOCK - 1))
    with pytest.raises(TruncatedError, match="truncated"):
        cut(whole[:at])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda tar: b"\1" + tar[1:], "no header at byte 0"),
        (lambda tar: tar[:148] + b"zzzzzz\0 " + tar[156:], "no header at byte 0"),
        (lambda tar: tar[:257] + b"nottar" + tar[263:], "no header at byte 0"),
        (lambda tar: bytes(BLOCK) + tar, "lone empty block"),
        (lambda tar: tar + b"more", "something behind its end"),
    ],
)
def test_damage(damage: Callable[[bytes], bytes], words: str) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("a"))
    with pytest.raises(IntegrityError, match=words):
        cut(damage(file.getvalue()))


def header(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("record", [b"no length at all", b"9999 path=a\n", b"0 path=a\n", b"12 no equals sign"])
def test_a_damaged_extended_header(record: bytes) -> None:
    block = record + bytes(BLOCK - len(record))
    with pytest.raises(IntegrityError, match="a record without an end"):
        cut(header("x", b"x", len(record)) + block + header("a", b"0", 0) + bytes(2 * BLOCK))


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(IntegrityError, match="unknown type b'L'"):
        cut(header("a", b"L", 0) + bytes(2 * BLOCK))


def test_memory_does_not_grow_with_a_folders_list_of_names() -> None:
    """A folder of 400,000 files: 12 MB of names in one header."""
    names = b"".join(b"Y%027d\0" % number for number in range(400_000)) + b"\0"
    size = len(b"00000000 GNU.dumpdir=") + len(names) + 1
    record = b"%d GNU.dumpdir=%b\n" % (size, names)
    content = header("x", b"x", size) + record + bytes(-size % BLOCK) + header("t/", b"5", 0) + bytes(2 * BLOCK)
    tracemalloc.start()
    members, parts, totals = [], 0, Totals()
    with tempfile.TemporaryDirectory() as folder:
        cutter = TarCutter(TarStream(reader(content, 1 << 16)), PartWriter(Path(folder)), 1 << 20, members.append)
        before = tracemalloc.get_traced_memory()[0]
        cutter.run()
        peak = tracemalloc.get_traced_memory()[1] - before
        parts, totals = len(list(Path(folder).iterdir())), cutter.totals
    tracemalloc.stop()
    assert peak < 6 << 20, "the stream has 11 MiB"
    assert totals.listed == 400_000
    assert parts == 12
    assert members[0].length == len(content) - 2 * BLOCK


def test_it_is_fast_on_large_files(tmp_path: Path) -> None:
    """At least 250 MB in a second of this process (it is 400 and more on an idle machine)."""
    size = 256 << 20
    block = memoryview(os.urandom(1 << 20))
    left = size

    def read(buffer: memoryview) -> int:
        nonlocal left
        if head:
            buffer[: len(head)] = head
            count = len(head)
            head.clear()
            return count
        count = min(left, len(block))
        buffer[:count] = block[:count]
        left -= count
        if not count and tail:
            buffer[: len(tail)] = tail
            count = len(tail)
            tail.clear()
        return count

    head, tail = bytearray(header("a", b"0", size)), bytearray(2 * BLOCK)
    cutter = TarCutter(TarStream(read), PartWriter(tmp_path), 64 << 20, lambda member: None)
    start = time.process_time()
    cutter.run()
    assert size / (time.process_time() - start) > 250e6
