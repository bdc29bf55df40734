"""Counts the rows in the INSERT statements of a dump, as they stream by.

MariaDB's mysqldump begins each row on a line of its own; MySQL's writes a statement on one line, where rows are told
apart by `),(` outside of quotes. Which of the two it is shows behind the word VALUES.
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
        self._lines = False
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
        self._lines = values[1] == b"\n"
        return 1 + self._count(head[values.end() :])

    def end_statement(self) -> int:
        """The statement has ended: rows that were still held back."""
        rest = 0 if self._lines else self._outside(self._carry)
        self._head, self._carry, self._quoted = b"", b"", False
        return rest

    def _count(self, data: bytes) -> int:
        if self._lines:
            first = 1 if self._carry and data.startswith(b"(") else 0
            self._carry = b"\n" if data.endswith(b"\n") else b"" if data else self._carry
            return first + data.count(_ROW_LINE)
        data = self._carry + data
        cut = len(data.rstrip(_UNSPLITTABLE))
        self._carry = data[cut:]
        return self._outside(data[:cut])

    def _outside(self, data: bytes) -> int:
        if b"\\" in data:
            data = data.replace(b"\\\\", b"").replace(b"\\'", b"")
        rows = 0
        quoted = self._quoted
        position = 0
        while (found := data.find(_NEXT_ROW, position)) >= 0:
            if data.count(b"'", position, found) & 1:
                quoted = not quoted
            rows += not quoted
            position = found + len(_NEXT_ROW)
        if data.count(b"'", position) & 1:
            quoted = not quoted
        self._quoted = quoted
        return rows
