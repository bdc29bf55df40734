"""Tar streams that GNU tar would not have written, member by member."""

from collections.abc import Mapping

BLOCK = 512
END = bytes(2 * BLOCK)
FILE, HARD_LINK, SYMLINK, DEVICE, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"5", b"6"


def member(
    name: bytes,
    kind: bytes = FILE,
    content: bytes = b"",
    link: bytes = b"",
    mode: int = 0o644,
    records: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """One member in the posix format; `records` are what its extended header says."""
    extended = {b"mtime": b"1700000000.5", **(records or {})}
    body = b"".join(record(keyword, value) for keyword, value in extended.items())
    return block(b"PaxHeaders/x", b"x", body) + block(name, kind, content, link, mode)


def folder(name: bytes, dumpdir: bytes | None = None) -> bytes:
    """A folder of an incremental archive: what it says was in it."""
    return member(name + b"/", FOLDER, mode=0o755, records={} if dumpdir is None else {b"GNU.dumpdir": dumpdir})


def record(keyword: bytes, value: bytes) -> bytes:
    """`<length> <keyword>=<value>` and a line feed; the length counts itself."""
    rest = b" " + keyword + b"=" + value + b"\n"
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def block(name: bytes, kind: bytes, content: bytes = b"", link: bytes = b"", mode: int = 0o644) -> bytes:
    """A header and its content."""
    header = bytearray(BLOCK)
    header[0 : len(name)] = name
    header[100:108] = b"%07o\0" % mode
    header[108:116] = header[116:124] = b"0000000\0"
    header[124:136] = b"%011o\0" % len(content)
    header[136:148] = b"%011o\0" % 1_700_000_000
    header[148:156] = b" " * 8
    header[156:157] = kind
    header[157 : 157 + len(link)] = link
    header[257:265] = b"ustar\x0000"
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % BLOCK)
