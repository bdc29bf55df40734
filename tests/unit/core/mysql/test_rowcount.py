"""Rows are counted right for any text in them, in any blocks."""

from hypothesis import given, settings
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
        found += sum(counter.feed(data, start, min(start + block, len(data))) for start in range(0, len(data), block))
        assert found + counter.end() == len(table)
