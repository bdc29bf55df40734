"""The cutter: parts concatenated are the dump to the byte, and the index knows what lies where."""

from pathlib import Path

import pytest

from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import Segment
from spoqplus_backup.core.mysql.cutter import Cutter
from spoqplus_backup.core.part_writer import PartWriter

HEADER = b"""/*M!999999\\- enable the sandbox mode */
-- MariaDB dump 10.19

/*!40103 SET TIME_ZONE='+00:00' */;
-- CHANGE MASTER TO MASTER_LOG_FILE='mdb-bin.000001', MASTER_LOG_POS=3629;

"""
DATABASE = b"""--
-- Current Database: `shop`
--

CREATE DATABASE `shop`;

USE `shop`;

"""


def table(name: bytes, *statements: bytes, after: bytes = b"") -> bytes:
    comment = name.replace(b"\n", b"\n-- ")
    return (
        b"--\n-- Table structure for table `" + comment + b"`\n--\n\n"
        b"DROP TABLE IF EXISTS `" + name + b"`;\nCREATE TABLE `" + name + b"` (\n  `a` int\n);\n\n"
        b"--\n-- Dumping data for table `" + comment + b"`\n--\n\n" + b"".join(statements) + after + b"\n"
    )


EVIL = "evil`;\n-- Table structure for table `x"
FOOTER = b"/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;\n\n-- Dump completed on 2026-11-23  3:00:00\n"
TRIGGER = b"""/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES' */ ;
DELIMITER ;;
/*!50003 CREATE*/ /*!50003 TRIGGER t BEFORE INSERT ON `b` FOR EACH ROW BEGIN
-- it's a comment with one quote
SET @x = ';;
DELIMITER ;

--
-- Table structure for table `not_a_table`
--
INSERT INTO `not_a_table` VALUES (1);
'; END */;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
"""
MARIADB = (
    HEADER
    + DATABASE
    + table(b"a", b"INSERT INTO `a` VALUES\n(1,'x'),\n(2,'),(');\n", b"INSERT INTO `a` VALUES\n(3,'it\\'s;\\n');\n")
    + table(b"b", b"INSERT INTO `b` VALUES\n(1);\n", after=TRIGGER)
    + table(b"empty")
    + table(
        b"evil``;\n-- Table structure for table ``x",
        b"INSERT INTO `evil``;\n-- Table structure for table ``x` VALUES\n(1);\n",
    )
    + table(b"new\nline``s", b"INSERT INTO `new\nline``s` (`a`) VALUES (1),\n(2),\n(3);\n")
    + b"--\n-- Dumping events for database 'shop'\n--\n\n"
    + b"--\n-- Dumping routines for database 'shop'\n--\n"
    + b"DELIMITER ;;\nCREATE PROCEDURE p() SELECT 1 ;;\nDELIMITER ;\n\n"
    + b"--\n-- Current Database: `shop`\n--\n\nUSE `shop`;\n\n"
    + b"--\n-- Final view structure for view `v`\n--\n\n/*!50001 CREATE VIEW `v` AS SELECT 1 */;\n"
    + FOOTER
)
MYSQL_ROWS = (
    b"INSERT INTO `it's` (`a`, `b`) VALUES (1,'),('),(2,'a\\'),(\\\\'),(3,'(),('),(4,NULL);\n"
    b"INSERT INTO `it's` VALUES (5,'\\\\\\\\'),(6,'\\\\\\'),('),(7,0x28292C);\n"
)
MYSQL = HEADER + DATABASE + table(b"it's", MYSQL_ROWS) + FOOTER


def cut(dump: bytes, block: int, part_bytes: int, directory: Path) -> Cutter:
    directory.mkdir()
    cutter = Cutter(PartWriter(directory), part_bytes)
    for start in range(0, len(dump), block):
        cutter.feed(dump[start : start + block])
    cutter.close()
    return cutter


def parts(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(directory.iterdir())]


def text_of(segment: Segment, written: list[bytes]) -> bytes:
    return written[segment.part - 1][segment.offset : segment.offset + segment.length]


@pytest.mark.parametrize("dump", [MARIADB, MYSQL], ids=["mariadb", "mysql"])
@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("part_bytes", [1, 100, 1 << 20])
def test_parts_are_the_dump_to_the_byte(dump: bytes, block: int, part_bytes: int, tmp_path: Path) -> None:
    cutter = cut(dump, block, part_bytes, tmp_path / "raw")
    written = parts(tmp_path / "raw")
    assert b"".join(written) == dump
    assert b"".join(text_of(segment, written) for segment in cutter.segments) == dump, "segments leave no gap"


@pytest.mark.parametrize("block", [1, 5, 1 << 20])
def test_the_index_does_not_depend_on_blocks(block: int, tmp_path: Path) -> None:
    whole = cut(MARIADB, 1 << 20, 1 << 20, tmp_path / "whole")
    assert cut(MARIADB, block, 1 << 20, tmp_path / "blocks").segments == whole.segments


def rows(cutter: Cutter) -> dict[str, int]:
    found: dict[str, int] = {}
    for segment in cutter.segments:
        if segment.kind == "rows":
            found[str(segment.table)] = found.get(str(segment.table), 0) + segment.rows
    return found


@pytest.mark.parametrize("block", [1, 3, 50, 1 << 20])
@pytest.mark.parametrize("part_bytes", [1, 1 << 20])
def test_rows_are_counted_in_both_forms(block: int, part_bytes: int, tmp_path: Path) -> None:
    mariadb = cut(MARIADB, block, part_bytes, tmp_path / "mariadb")
    assert rows(mariadb) == {"a": 3, "b": 1, EVIL: 1, "new\nline`s": 3}
    assert rows(cut(MYSQL, block, part_bytes, tmp_path / "mysql")) == {"it's": 7}


def test_each_kind_is_found_where_it_is(tmp_path: Path) -> None:
    cutter = cut(MARIADB, 1 << 20, 1 << 20, tmp_path / "raw")
    written = parts(tmp_path / "raw")
    found = [(s.kind, s.database, s.table) for s in cutter.segments]
    assert found == [
        ("header", None, None),
        ("database", "shop", None),
        ("structure", "shop", "a"),
        ("rows", "shop", "a"),
        ("structure", "shop", "b"),
        ("rows", "shop", "b"),
        ("triggers", "shop", "b"),
        ("structure", "shop", "empty"),
        ("structure", "shop", EVIL),
        ("rows", "shop", EVIL),
        ("structure", "shop", "new\nline`s"),
        ("rows", "shop", "new\nline`s"),
        ("events", "shop", None),
        ("routines", "shop", None),
        ("database", "shop", None),
        ("views", "shop", "v"),
        ("footer", None, None),
    ]
    triggers = next(s for s in cutter.segments if s.kind == "triggers")
    assert text_of(triggers, written) == TRIGGER
    assert cutter.found.programs == {"triggers": 1, "routines": 1}


def test_a_part_begins_with_a_heading_or_a_statement(tmp_path: Path) -> None:
    cutter = cut(MARIADB, 1 << 20, 1, tmp_path / "raw")
    later = parts(tmp_path / "raw")[1:]
    assert max(segment.part for segment in cutter.segments) == len(later) + 1 > 5
    for part in later:
        assert part.lstrip(b"\n").startswith((b"INSERT INTO ", b"--\n-- ", b"/*!"))


def test_memory_does_not_grow_with_a_long_row(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    cutter = Cutter(PartWriter(tmp_path / "raw"), 1 << 20)
    cutter.feed(HEADER + DATABASE + table(b"a")[:-1] + b"INSERT INTO `a` VALUES\n('")
    for _ in range(64):
        cutter.feed(b"0" * (1 << 20))
        assert len(cutter._carry) < 64
    cutter.feed(b"');\n\n" + FOOTER)
    cutter.close()
    assert rows(cutter) == {"a": 1}


def test_a_dump_that_ends_inside_a_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    cutter = Cutter(PartWriter(tmp_path / "raw"), 1 << 20)
    cutter.feed(HEADER + DATABASE + b"DELIMITER ;;\nCREATE PROCEDURE p() BEGIN\n")
    with pytest.raises(IntegrityError, match="truncated"):
        cutter.close()
