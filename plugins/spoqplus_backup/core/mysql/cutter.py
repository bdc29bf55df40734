"""Cuts the stream of mysqldump into parts while it is written, and notes what lies where.

The stream is read once, in blocks, with constant memory. Definitions are read line by line; rows, which are nearly all
of it, are searched for the ends of statements only: mysqldump writes a newline inside a value as `\\n`, so that `;` and
a newline always end a statement there. Stored programs may hold any text, also text that looks like a dump: they are
read by a lexer that knows quotes and comments (`delimited.py`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import Segment, SegmentKind
from spoqplus_backup.core.mysql.delimited import count_programs, is_closed
from spoqplus_backup.core.mysql.rowcount import RowCounter
from spoqplus_backup.core.mysql.rows import INSERT_HEAD
from spoqplus_backup.core.part_writer import PartWriter

TAIL_BYTES = 16384
HEAD_BYTES = 4 << 20  # more than the names of 4,096 columns

_INSERT = b"INSERT INTO "
_END_OF_STATEMENT = b";\n"
_SEMICOLON = ord(";")
_RARE = 50
_AFTER_ROWS = (b"\n", b"/*", b"--", b"UNLOCK", b"SET ", b"DELIMITER ")
_LOOKAHEAD = max(map(len, (_INSERT, *_AFTER_ROWS)))
_FOOTER = b"/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE"
_NO_BACKSLASH = re.compile(rb"/\*!5000\d SET sql_mode +=")

_HEADINGS: tuple[tuple[bytes, SegmentKind], ...] = (
    (b"-- Current Database: ", "database"),
    (b"-- Table structure for table ", "structure"),
    (b"-- Temporary table structure for view ", "structure"),
    (b"-- Temporary view structure for view ", "structure"),
    (b"-- Sequence structure for ", "structure"),
    (b"-- Dumping data for table ", "rows"),
    (b"-- Dumping events for database ", "events"),
    (b"-- Dumping routines for database ", "routines"),
    (b"-- Final view structure for view ", "views"),
)


@dataclass
class _Open:
    """The segment that is being written."""

    kind: SegmentKind
    database: str | None
    table: str | None
    part: int
    offset: int
    rows: int = 0


@dataclass
class Found:
    """What the cutter saw besides the segments, to hold against the server's catalogue."""

    header: bytearray = field(default_factory=bytearray)
    tail: bytes = b""
    programs: dict[SegmentKind, int] = field(default_factory=dict)


class Cutter:
    """Feed it the blocks of a dump in order, then `close` it; `segments` and `found` are whole after that."""

    def __init__(self, writer: PartWriter, part_bytes: int, database: str | None = None) -> None:
        """`database` is the one whose tables are dumped when the dump itself doesn't name it."""
        self.segments: list[Segment] = []
        self.found = Found()
        self._writer = writer
        self._part_bytes = part_bytes
        self._counter = RowCounter()
        self._open = _Open("header", database, None, writer.number, writer.offset)
        self._scan: Callable[[bytes], int] = self._scan_text
        self._carry = b""
        self._margin = b""  # empty lines and lone dashes: they belong to the heading that may follow
        self._heading = b""
        self._heading_open = False  # the dashes that close it are still to come
        self._program = bytearray()
        self._backslash_escapes = True
        self._at_insert = True  # the next bytes of rows are the head of a statement, whose names may hold any text
        self._data_heading = False  # "Dumping data for table" was the last heading

    def feed(self, block: bytes) -> None:
        """Take the next block of the dump, of any size."""
        self.found.tail = (self.found.tail + block[-TAIL_BYTES:])[-TAIL_BYTES:]
        data = self._carry + block if self._carry else block
        position = 0
        while position < len(data):
            scan = self._scan
            used = scan(data[position:] if position else data)
            position += used
            if not used and scan == self._scan:
                break
        self._carry = data[position:]

    def close(self) -> None:
        """The dump has ended: write what is left.

        Raises:
            IntegrityError: it ended inside a stored program or a heading.
        """
        if self._program or self._heading:
            raise IntegrityError("The dump ends in the middle of a definition: it is truncated; run the dump again.")
        self._write(self._margin + self._carry)
        self._end_segment()
        self._writer.close()

    # Each scanner returns how many bytes it has used. It wants more when it used none and is still the scanner.

    def _scan_text(self, data: bytes) -> int:
        position = 0
        while True:
            if data.startswith(_INSERT, position):
                self._flush_margin()
                self._begin("rows", self._open.database, self._open.table)
                self._scan = self._scan_rows
                return position
            end = data.find(b"\n", position) + 1
            if not end:
                return position
            line = data[position:end]
            position = end
            if line.startswith(b"DELIMITER ") and line != b"DELIMITER ;\n":
                self._begin_program(line)
                return position
            self._text_line(line)

    def _scan_rows(self, data: bytes) -> int:
        written = position = 0
        while True:
            if self._at_insert:
                head = INSERT_HEAD.match(data, position)
                if head is None:
                    self._write(memoryview(data)[written:position])
                    return self._wait_for_head(data, position)
                self._at_insert = False
                self._open.rows += self._counter.begin(on_a_new_line=head[1] == b"\n")
                position = head.end()
            end = self._statement_end(data, position)
            if end < 0 or end + len(_END_OF_STATEMENT) + _LOOKAHEAD > len(data):
                keep = len(data) - data.endswith(b";") if end < 0 else end
                self._open.rows += self._counter.feed(data, position, keep)
                self._write(memoryview(data)[written:keep])
                return keep
            end += len(_END_OF_STATEMENT)
            self._open.rows += self._counter.feed(data, position, end)
            position = end
            more = data.startswith(_INSERT, end)
            if more or data.startswith(_AFTER_ROWS, end):
                self._open.rows += self._counter.end()
                self._at_insert = True
            if not more and data.startswith(_AFTER_ROWS, end):
                self._write(memoryview(data)[written:end])
                self._begin("structure", self._open.database, self._open.table)
                self._scan = self._scan_text
                return end
            if more and self._writer.offset + end - written >= self._part_bytes:
                self._write(memoryview(data)[written:end])
                written = end
                self._cut()

    def _wait_for_head(self, data: bytes, position: int) -> int:
        if len(data) - position > HEAD_BYTES:
            text = data[position : position + 200].decode("utf-8", "replace")
            raise IntegrityError(f"The dump has an INSERT of a form that is not known, beginning with `{text}`.")
        return position

    def _statement_end(self, data: bytes, position: int) -> int:
        """Where the next `;` and newline stand; -1 when they are not in the data.

        One byte is found much faster than two, where it is rare.
        """
        if self._counter.row_a_line:
            for _ in range(_RARE):
                position = data.find(b";", position)
                if position < 0 or data.startswith(_END_OF_STATEMENT, position):
                    return position
                position += 1
            return data.find(_END_OF_STATEMENT, position)
        end = data.find(b"\n", position)  # there are no others here
        while end > 0 and data[end - 1] != _SEMICOLON:
            end = data.find(b"\n", end + 1)
        return end - 1 if end > 0 else -1

    def _scan_program(self, data: bytes) -> int:
        end = data.find(b"\n") + 1
        self._program += data[:end]
        if data[:end] == b"DELIMITER ;\n" and is_closed(self._program, backslash_escapes=self._backslash_escapes):
            found = count_programs(self._program, backslash_escapes=self._backslash_escapes)
            self.found.programs[self._open.kind] = self.found.programs.get(self._open.kind, 0) + found
            self._write(self._program)
            self._program = bytearray()
            self._scan = self._scan_text
        return end

    def _text_line(self, line: bytes) -> None:
        if self._heading:
            self._continue_heading(line)
        elif line in (b"\n", b"--\n") and not self._heading_open:
            self._margin += line
        elif self._margin.endswith(b"--\n") and line.startswith(tuple(prefix for prefix, _ in _HEADINGS)):
            self._continue_heading(line)
        else:
            self._heading_open = False
            if line.startswith(_FOOTER):
                self._begin("footer", None, None)
            elif self._data_heading and self._open.kind == "structure" and line.startswith(b"/*!"):
                self._begin("triggers", self._open.database, self._open.table)
            if _NO_BACKSLASH.match(line):
                self._backslash_escapes = b"NO_BACKSLASH_ESCAPES" not in line
            self._flush_margin()
            self._write(line)

    def _continue_heading(self, line: bytes) -> None:
        """A heading ends with its quote; a name with a newline goes on in the next line, behind `-- `."""
        self._heading += line
        prefix, kind = next((p, k) for p, k in _HEADINGS if self._heading.startswith(p))
        name = self._heading[len(prefix) + 1 : -1].replace(b"\n-- ", b"\n")
        quote = self._heading[len(prefix) : len(prefix) + 1]
        if quote == b"`" and (len(name) - len(name.rstrip(quote))) % 2 == 0:
            return
        if kind == "database":
            self._begin(kind, _identifier(name), None)
        elif kind in ("events", "routines"):
            self._begin(kind, self._open.database, None)
        elif kind != "rows":
            self._begin(kind, self._open.database, _identifier(name))
        self._data_heading = kind == "rows"
        self._flush_margin()
        self._write(self._heading)
        self._heading = b""
        self._heading_open = True

    def _begin_program(self, line: bytes) -> None:
        self._flush_margin()
        if self._open.kind == "structure":
            self._begin("triggers", self._open.database, self._open.table)
        self._program += line
        self._scan = self._scan_program

    def _begin(self, kind: SegmentKind, database: str | None, table: str | None) -> None:
        self._end_segment()
        if kind in ("database", "structure") and self._writer.offset >= self._part_bytes:
            self._writer.next_part()
        self._open = _Open(kind, database, table, self._writer.number, self._writer.offset)

    def _cut(self) -> None:
        self._end_segment()
        self._writer.next_part()
        was = self._open
        self._open = _Open(was.kind, was.database, was.table, self._writer.number, self._writer.offset)

    def _end_segment(self) -> None:
        segment = self._open
        length = self._writer.offset - segment.offset
        if length:
            self.segments.append(
                Segment(
                    part=segment.part,
                    offset=segment.offset,
                    length=length,
                    kind=segment.kind,
                    database=segment.database,
                    table=segment.table,
                    rows=segment.rows,
                )
            )

    def _flush_margin(self) -> None:
        if self._margin:
            self._write(self._margin)
            self._margin = b""

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        if self._open.kind == "header":
            self.found.header += data
        self._writer.write(data)


def _identifier(quoted: bytes) -> str:
    """A name as the server has it, from its quoted form without the first backtick."""
    return quoted[:-1].replace(b"``", b"`").decode("utf-8", "surrogateescape")
