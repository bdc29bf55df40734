"""Counts the rows in the INSERT statements of a dump, as they stream by.

MariaDB's mysqldump begins each further row on a line of its own; MySQL's writes a statement on one line, where rows
are told apart by `),(` outside of quotes. (A raw newline is never inside a value, so `\\n(` needs no such care.)
"""

import re

_VALUES = re.compile(rb" VALUES(\n| )\(")
_ROW_LINE = b"\n("
_NEXT_ROW = b"),("
_UNSPLITTABLE = b"\\),("  # a cut inside a run of these could split an escape or a `),(`


class RowCounter:
    """Feed it the bytes of INSERT statements in runs of any size, and tell it where each statement ends."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        self._lines = False  # rows are known to stand on lines of their own
        self._newline = False
        self._carry = b""
        self._quoted = False

    def feed(self, data: bytes, start: int, end: int) -> int:
        """Rows that were found to begin in `data[start:end]` (or in what was held back before)."""
        if self._head is None:
            return self._count(data[start:end])
        head = self._head + data[start:end]
        values = _VALUES.search(head)
        if values is None:
            self._head = head
            return 0
        self._head = None
        self._lines = self._lines or values[1] == b"\n"
        return 1 + self._count(head[values.end() :])

    def end_statement(self) -> int:
        """The statement has ended: rows that were still held back."""
        rest = self._outside(self._carry)
        self._head, self._carry, self._quoted, self._newline = b"", b"", False, False
        return rest

    def _count(self, data: bytes) -> int:
        rows = data.count(_ROW_LINE) + (self._newline and data.startswith(b"("))
        self._newline = data.endswith(b"\n") or (self._newline and not data)
        if self._lines:
            return rows
        data = self._carry + data
        cut = len(data.rstrip(_UNSPLITTABLE))
        self._carry = data[cut:]
        return rows + self._outside(data[:cut])

    def _outside(self, data: bytes) -> int:
        """`),(` that are not inside quotes; keeps whether the data ends inside quotes."""
        if b"\\" in data:
            data = data.replace(b"\\\\", b"").replace(b"\\'", b"")
        rows = position = 0
        while (found := data.find(_NEXT_ROW, position)) >= 0:
            if data.count(b"'", position, found) & 1:
                self._quoted = not self._quoted
            rows += not self._quoted
            position = found + len(_NEXT_ROW)
        if data.count(b"'", position) & 1:
            self._quoted = not self._quoted
        return rows
