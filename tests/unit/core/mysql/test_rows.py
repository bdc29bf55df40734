"""Rows are cut into the statements that the dump holds, wherever the chunks end."""

import pytest

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.mysql.rows import statements

MARIADB = [
    b"INSERT INTO `a` VALUES\n(1,'x;\\n'),\n(2,'INSERT INTO `b` VALUES (');\n",
    b"INSERT INTO `evil``;\nINSERT INTO ``x` (`it's`, row_start) VALUES (1,2),\n(3,4);\n",
]
MYSQL = [b"INSERT INTO `a` VALUES (1,'),('),(2,NULL);\n", b"INSERT INTO `a` (`b`, `c``;\n`) VALUES (3,0x3B0A);\n"]


@pytest.mark.parametrize("dump", [MARIADB, MYSQL], ids=["mariadb", "mysql"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_statements_come_one_by_one(dump: list[bytes], size: int) -> None:
    data = b"".join(dump)
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    assert [statement + b";\n" for statement in statements(chunks)] == dump


@pytest.mark.parametrize("data", [MARIADB[0][:-1], b"CREATE TABLE x (a INT);\n", MYSQL[0] + b"x"])
def test_what_is_no_whole_statement_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="do not end with a statement"):
        list(statements([data]))
