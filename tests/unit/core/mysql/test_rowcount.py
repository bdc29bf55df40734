"""Rows are counted right for any text in them, in any blocks."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spoqplus_backup.core.mysql.rowcount import RowCounter

TEXT = st.lists(st.sampled_from(["),(", "'", "\\", "\n", "(", ")", ",", ";", "x", "\\'", "VALUES ("]), max_size=8).map(
    "".join
)


def literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


@settings(max_examples=400)
@given(st.lists(st.lists(TEXT, min_size=1, max_size=3), min_size=1, max_size=6), st.integers(1, 40), st.booleans())
def test_counts_rows(table: list[list[str]], block: int, row_a_line: bool) -> None:
    values = ["(" + ",".join(["1", *map(literal, row)]) + ")" for row in table]
    data = ((",\n" if row_a_line else ",").join(values) + ";\n").encode()
    counter = RowCounter()
    for _ in range(2):  # a second statement finds no trace of the first
        found = counter.begin(on_a_new_line=row_a_line)
        found += sum(counter.feed(data, start, min(start + block, len(data))) for start in range(1, len(data), block))
        assert found + counter.end() == len(table)


def rows_by_reading(statement: bytes) -> int:
    """Byte by byte, as slow and as plain as can be."""
    rows, quoted, escaped = 0, False, False
    for byte in statement:
        if escaped:
            escaped = False
        elif byte == ord("\\") and quoted:
            escaped = True
        elif byte == ord("'"):
            quoted = not quoted
        elif byte == ord("(") and not quoted:
            rows += 1
    return rows


ESCAPES = {0: b"\\0", 10: b"\\n", 13: b"\\r", 26: b"\\Z", 34: b'\\"', 39: b"\\'", 92: b"\\\\"}
VALUE = st.one_of(
    st.sampled_from([b"NULL", b"-1.5e10", b"0x2827292C", b"_binary ''"]),
    st.binary(max_size=12),
    st.lists(st.sampled_from([b"'", b"\\", b"(", b"),(", b'"', b"\n", b"n", b"0", b"t", b"\x00", "회원".encode()])).map(
        b"".join
    ),
).map(lambda value: value if value in (b"NULL", b"-1.5e10", b"0x2827292C", b"_binary ''") else quoted(value))


def quoted(value: bytes) -> bytes:
    """As mysql_real_escape_string writes it."""
    return b"'" + b"".join(ESCAPES.get(byte, bytes([byte])) for byte in value) + b"'"


def count_in_blocks(statement: bytes, block: int) -> int:
    counter = RowCounter()
    found = counter.begin(on_a_new_line=False)
    found += sum(counter.feed(statement, at, min(at + block, len(statement))) for at in range(1, len(statement), block))
    return found + counter.end()


@settings(max_examples=1000)
@given(st.lists(st.lists(VALUE, min_size=1, max_size=4), min_size=1, max_size=8), st.integers(1, 80))
def test_any_bytes_in_values(table: list[list[bytes]], block: int) -> None:
    statement = b",".join(b"(" + b",".join(row) + b")" for row in table) + b";\n"
    assert rows_by_reading(statement) == len(table), "the premise"
    assert count_in_blocks(statement, block) == len(table)


PIECES = [b"'", b"\\", b"(", b"\\'", b"\\\\", b'\\"', b"\\n", b"\\t", b"\\(", b"''", b"n", b'"', b"),("]


@settings(max_examples=1000)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.integers(1, 40))
def test_any_text_in_quotes_and_any_escape(text: bytes, block: int) -> None:
    """Also escapes and quotes that mysqldump does not write, as long as a backslash stands in quotes."""
    statement = b"('" + text + b"'),('x');\n"
    assume(_backslashes_stand_in_quotes(statement))
    assert count_in_blocks(statement, block) == rows_by_reading(statement)


def _backslashes_stand_in_quotes(statement: bytes) -> bool:
    quoted, escaped = False, False
    for byte in statement:
        if escaped:
            escaped = False
        elif byte == ord("\\"):
            if not quoted:
                return False
            escaped = True
        elif byte == ord("'"):
            quoted = not quoted
    return True
