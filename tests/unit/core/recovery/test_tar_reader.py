"""What of a tar stream is let through to GNU tar: what GNU tar itself would have written, and nothing else."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.recovery.files.tar_reader import Member, TarReader
from support import forged_tar
from support.file_sets import TAR
from support.forged_tar import DEVICE, END, FIFO, FILE, FOLDER, HARD_LINK, SYMLINK, block, folder, member, record


def members(stream: bytes, piece: int = 700) -> list[Member]:
    def pieces() -> Iterator[bytes]:
        for at in range(0, len(stream), piece):
            yield stream[at : at + piece]

    reader = TarReader(pieces(), "the archive")
    found = []
    while (one := reader.next_member()) is not None:
        found.append(one)
    return found


def gnu_tar(folder_: Path, *arguments: str) -> bytes:
    command = [*TAR, f"--listed-incremental={folder_}/snapshot", "-C", str(folder_), *arguments, "top"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_it_reads_what_gnu_tar_writes(tmp_path: Path) -> None:
    top = tmp_path / "top"
    long = "x" * 150
    (top / long / "빈 폴더").mkdir(parents=True)
    (top / long / "한글\n이름").write_text("content")
    (top / "link").symlink_to(long)
    (top / "second").hardlink_to(top / long / "한글\n이름")
    with (top / "sparse").open("wb") as file:
        file.truncate(10_000_000)
        file.seek(5_000_000)
        file.write(b"data")
    stream = gnu_tar(tmp_path)
    found = members(stream)
    assert [one.name.decode() for one in found[:3]] == ["top", f"top/{long}", f"top/{long}/빈 폴더"]
    by_name = {one.name.decode(): one for one in found}
    assert by_name["top/link"].link == long.encode()
    assert by_name["top/sparse"].size == 10_000_000
    assert by_name["top/sparse"].stored < 100_000
    assert by_name["top/sparse"].is_sparse
    assert b"Ysparse\0" in (by_name["top"].dumpdir or b"")
    kinds = {by_name["top/second"].type, by_name[f"top/{long}/한글\n이름"].type}
    assert kinds == {"file", "hardlink"}
    assert [one.offset for one in found[1:]] == [one.offset + one.length for one in found[:-1]]
    assert stream[found[-1].offset + found[-1].length :].strip(b"\0") == b""


@pytest.mark.parametrize("piece", [1, 511, 512, 513, 1 << 20])
def test_pieces_may_have_any_size(piece: int) -> None:
    stream = folder(b"top") + member(b"top/a", content=b"a" * 1000) + member(b"top/b", content=b"") + END
    assert [one.name for one in members(stream, piece)] == [b"top", b"top/a", b"top/b"]


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (member(b"/etc/passwd"), "an absolute name"),
        (member(b"top/../../etc/passwd"), "leads out of the root"),
        (member(b".."), "leads out of the root"),
        (member(b"top/./a"), "not in its plain form"),
        (member(b"top//a"), "not in its plain form"),
        (member(b"./top/a"), "not in its plain form"),
        (member(b"top/a/"), "not in its plain form"),  # GNU tar makes a folder of it
        (member(b"x", records={b"path": b"/etc/passwd"}), "an absolute name"),
        (member(b"x", records={b"path": b"a\0b"}), "a zero byte"),
        (member(b"top/device", DEVICE), "a device file"),
        (member(b"top/device", b"4"), "a device file"),
        (member(b"top/hard", HARD_LINK, link=b"/etc/passwd"), "an absolute name"),
        (member(b"top/hard", HARD_LINK, link=b"../etc/passwd"), "leads out of the root"),
        (member(b"top/hard", HARD_LINK, link=b""), "a link to nothing"),
        (member(b"top/hard", HARD_LINK, content=b"x", link=b"top/a"), "a hardlink with content"),
        (member(b"top", FOLDER, content=b"x"), "a directory with content"),
        (member(b"top/pipe", FIFO, content=b"x"), "a fifo with content"),
        (block(b"././@LongLink", b"L", b"/etc/passwd\0") + member(b"x"), "unknown type"),
        (block(b"././@LongLink", b"K", b"/etc/passwd\0") + member(b"x"), "unknown type"),
        (block(b"g", b"g", record(b"path", b"/etc/passwd")) + member(b"x"), "unknown type"),
        (block(b"x", b"x", b"") + block(b"x", b"x", b"") + member(b"x"), "unknown type"),
        (member(b"top/a", b"7"), "unknown type"),
        (member(b"top/a", b"\0"), "unknown type"),
        (member(b"top/a", b"S"), "unknown type"),
        (member(b"top/a", records={b"GNU.sparse.name": b"../a", b"GNU.sparse.major": b"1"}), "leads out of the root"),
        (member(b"top/a", records={b"GNU.sparse.major": b"1"}), "not described in full"),
        (member(b"top/a", records={b"GNU.sparse.map": b"0,1"}), "GNU.sparse.map"),
        (member(b"top/a", records={b"hdrcharset": b"BINARY"}), "hdrcharset"),
        (member(b"top/a", records={b"size": b"-1"}), "the number"),
        (member(b"top/a", records={b"size": b"010"}), "the number"),
        (
            block(b"x", b"x", record(b"path", b"a") + record(b"path", b"b")) + block(b"a", FILE),
            "has an extended header",
        ),
        (block(b"x", b"x", b"99 path=a\n") + block(b"a", FILE), "extended header that can't be read"),
        (block(b"x", b"x", b"path=a\n") + block(b"a", FILE), "extended header that can't be read"),
    ],
)
def test_what_gnu_tar_would_not_have_written_is_refused(stream: bytes, words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        members(folder(b"top") + stream + END)


def test_a_name_is_shown_so_that_nobody_is_deceived() -> None:
    with pytest.raises(IntegrityError, match=r"'\.\./\\x1b\[2J\\xff\\n'"):
        members(member(b"../\x1b[2J\xff\n") + END)


def test_another_format_is_refused() -> None:
    stream = bytearray(member(b"top/a"))
    stream[257:265] = b"ustar  \0"
    with pytest.raises(IntegrityError, match="wrong checksum"):
        members(bytes(stream) + END)
    stream[148:156] = b"%06o\0 " % (sum(stream[:148]) + 256 + sum(stream[156:512]))
    with pytest.raises(IntegrityError, match="not in the posix format"):
        members(bytes(stream) + END)


@pytest.mark.parametrize("length", [100, 512, 1400])
def test_a_stream_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(IntegrityError, match="ends in the middle"):
        members((member(b"top/a", content=b"x" * 600) + END)[:length])


def test_nothing_comes_behind_the_end() -> None:
    with pytest.raises(IntegrityError, match="behind its end"):
        members(member(b"top/a") + END + member(b"../b"))


def test_the_symlink_itself_is_not_judged_here() -> None:
    (one,) = members(member(b"top/link", SYMLINK, link=b"../../etc") + END)
    assert one.link == b"../../etc"


def test_a_forged_tar_is_as_gnu_tar_reads_it(tmp_path: Path) -> None:
    stream = folder(b"top", b"Ya\0\0") + member(b"top/a", content=b"x") + forged_tar.END
    listed = subprocess.run(["tar", "-t"], input=stream, check=True, capture_output=True).stdout
    assert listed == b"top/\ntop/a\n"
