"""Counts the rows in the INSERT statements of a dump, as they stream by.

MariaDB's mysqldump puts each further row on a line of its own, and a value never holds a raw newline: its rows are its
newlines. MySQL's writes a statement on one line, where rows are told apart by `),(` outside of quotes.
"""

_NEXT_ROW = b"),("
_ESCAPED_QUOTE = b"\\'"
_UNSPLITTABLE = b"\\),("  # a cut inside a run of these could split an escape or a `),(`


class RowCounter:
    """Tell it where a statement's rows begin, feed it their bytes in runs of any size, tell it where they end."""

    def __init__(self) -> None:
        self.row_a_line = False  # this program is known to write rows so
        self._newlines = 0
        self._carry = b""
        self._quoted = False

    def begin(self, *, on_a_new_line: bool) -> int:
        """The first row of a statement begins here: one row."""
        self.row_a_line = self.row_a_line or on_a_new_line
        self._carry, self._quoted, self._newlines = b"", False, 0
        return 1

    def feed(self, data: bytes, start: int, end: int) -> int:
        """Rows that were found to begin in `data[start:end]` (or in what was held back before)."""
        self._newlines += data.count(b"\n", start, end)
        if self.row_a_line:
            return 0
        run = self._carry + data[start:end]
        cut = len(run.rstrip(_UNSPLITTABLE))
        self._carry = run[cut:]
        return self._outside(run[:cut])

    def end(self) -> int:
        """The statement has ended: rows that were still held back. Its own last newline began none."""
        return self._outside(self._carry) + max(self._newlines - 1, 0)

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
