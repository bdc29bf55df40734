"""Counts the rows in the INSERT statements of a dump, as they stream by.

MariaDB's mysqldump puts each further row on a line of its own, and a value never holds a raw newline: its rows are its
newlines. MySQL's writes a statement on one line, where each row begins with the only kind of `(` that stands outside
of quotes: values are literals.

Finding those needs every quote, at the speed of a disk. So nearly all bytes are taken out first, in one pass in C, and
the questions are asked of the few that are left.
"""

_QUOTE = b"'"
_BACKSLASH = b"\\"
_MARKS = b"'("
_ESCAPED = b'\\"'


def _all_but(kept: bytes) -> bytes:
    return bytes(byte for byte in range(256) if byte not in kept)


_NO_MARKS = _all_but(_MARKS)
# What mysqldump puts behind a backslash, besides quote and backslash: first what JSON and serialised PHP are full of,
# then all of it, each as a double quote. Fewer bytes stay with the first.
_HARMLESS = tuple(
    (bytes.maketrans(some, b'"' * len(some)), _all_but(_MARKS + b"\\" + some)) for some in (b'"', b'"nr0Z')
)


class RowCounter:
    """Tell it where a statement's rows begin, feed it their bytes in runs of any size, tell it where they end."""

    def __init__(self) -> None:
        self.row_a_line = False  # this program is known to write rows so
        self._newlines = 0
        self._carry = b""  # backslashes, of which the last one may escape what comes next
        self._quoted = False

    def begin(self, *, on_a_new_line: bool) -> int:
        """The first row of a statement begins here: one row."""
        self.row_a_line = self.row_a_line or on_a_new_line
        self._carry, self._quoted, self._newlines = b"", False, 0
        return 1

    def feed(self, data: bytes, start: int, end: int) -> int:
        """Rows that were found to begin in `data[start:end]`; the first row's own `(` is not fed."""
        if self.row_a_line:
            self._newlines += data.count(b"\n", start, end)
            return 0
        run = self._carry + data[start:end]
        self._carry = b""
        if run.endswith(_BACKSLASH):
            cut = len(run.rstrip(_BACKSLASH))
            run, self._carry = run[:cut], run[cut:]
        return self._outside(run)

    def end(self) -> int:
        """The statement has ended: rows that were found as lines. Its own last newline began none."""
        return max(self._newlines - 1, 0)

    def _outside(self, data: bytes) -> int:
        """The `(` that are not inside quotes; keeps whether the data end inside quotes."""
        marks = _marks(data).replace(b"''", b"")  # two quotes in a row, of whatever string, change nothing
        if _QUOTE not in marks and not self._quoted:
            return len(marks)
        pieces = marks.split(_QUOTE)
        rows = sum(map(len, pieces[self._quoted :: 2]))
        self._quoted ^= len(pieces) % 2 == 0
        return rows


def _marks(data: bytes) -> bytes:
    """The quotes and opening parentheses of some text, in order, without the escaped quotes."""
    for table, others in _HARMLESS:
        left = data.translate(table, others)
        # What stood side by side still does. So when each backslash has a harmless byte behind it here, none in the
        # data has a quote or another backslash behind it: no quote is escaped.
        if left.count(_BACKSLASH) == left.count(_ESCAPED):
            return left.translate(None, _NO_MARKS)
    return data.replace(b"\\\\", b"").replace(b"\\'", b"").translate(None, _NO_MARKS)
