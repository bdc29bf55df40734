"""Counts the rows in the INSERT statements of a dump, as they stream by.

MariaDB's mysqldump puts each further row on a line of its own, and a value never holds a raw newline: its rows are its
newlines. MySQL's writes a statement on one line, where rows are told apart by `),(` outside of quotes.
"""

import re

_VALUES = re.compile(rb" VALUES(\n| )\(")
_NEXT_ROW = b"),("
_ESCAPED_QUOTE = b"\\'"
_UNSPLITTABLE = b"\\),("  # a cut inside a run of these could split an escape or a `),(`


class RowCounter:
    """Feed it the bytes of INSERT statements in runs of any size, and tell it where each statement ends."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        self.row_a_line = False  # this program is known to write rows so
        self._newlines = 0
        self._carry = b""
        self._quoted = False

    def feed(self, data: bytes, start: int, end: int) -> int:
        """Rows that were found to begin in `data[start:end]` (or in what was held back before)."""
        if self._head is not None:
            head = self._head + data[start:end]
            values = _VALUES.search(head)
            if values is None:
                self._head = head
                return 0
            self._head = None
            self.row_a_line = self.row_a_line or values[1] == b"\n"
            return 1 + self._count(head, values.end(), len(head))
        return self._count(data, start, end)

    def end_statement(self) -> int:
        """The statement has ended: rows that were still held back, less its own last newline."""
        rest = self._outside(self._carry)
        rows = rest + self._newlines - 1 if self._newlines > 1 else rest
        self._head, self._carry, self._quoted, self._newlines = b"", b"", False, 0
        return rows

    def _count(self, data: bytes, start: int, end: int) -> int:
        self._newlines += data.count(b"\n", start, end)
        if self.row_a_line:
            return 0
        data = self._carry + data[start:end]
        cut = len(data.rstrip(_UNSPLITTABLE))
        self._carry = data[cut:]
        return self._outside(data[:cut])

    def _outside(self, data: bytes) -> int:
        """`),(` that are not inside quotes; keeps whether the data ends inside quotes."""
        if _ESCAPED_QUOTE in data:
            data = data.replace(b"\\\\", b"").replace(_ESCAPED_QUOTE, b"")
        odd = [piece.count(b"'") & 1 for piece in data.split(_NEXT_ROW)]
        if not self._quoted and not any(odd):
            return len(odd) - 1
        rows = 0
        for flips in odd[:-1]:
            self._quoted ^= bool(flips)
            rows += not self._quoted
        self._quoted ^= bool(odd[-1])
        return rows
