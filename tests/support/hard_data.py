"""A data set of everything that backups of MariaDB and MySQL are known to lose or to garble.

`build` fills an empty server with several databases, which together hold every item of "must come back identical":
kinds of columns, values, names, constraints, partitions, views, stored programs, accounts. What only one of the vendors
has is made on that one. FLOAT values have six digits at most: mysqldump prints no more of them, on either vendor.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support.servers import quoted, rows

MAIN = "spoq_hard"
ODD = "위어드 db.`x` - 한글"  # with a space, dot, backtick, dash and Korean
FIRST = "aaa_views"  # its views need what comes later in the alphabet
RESERVED = "order"
MANY = "many_tables"
EMPTY = "빈_데이터베이스"
LATIN = "latin1_db"
DATABASES = (MAIN, ODD, FIRST, RESERVED, MANY, EMPTY, LATIN)

GHOST = "`ghost`@`gone.example.com`"  # no such account

# Text that could be taken for a piece of a dump by whoever reads dumps line by line.
LOOKALIKE = """
--
-- Table structure for table `members`
--

DROP TABLE IF EXISTS `members`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
INSERT INTO `members` VALUES (1,'it\\'s'),(2,'NULL'),
(3,'),(4,');
UNLOCK TABLES;
/*!50003 SET sql_mode = '' */ ;
DELIMITER ;;
-- Final view structure for view `v`
-- Current Database: `mysql`
-- Dump completed on 2026-01-01  0:00:00
"""

BYTES = bytes(range(256)) + b"\0'\"\\\n\r\x1a\\0\\n%_`;" * 3

Run = Callable[..., Any]


# mysqldump of both vendors runs for ever, without a word, when an event's body holds two semicolons: the loop of its
# create_delimiter() counts up the wrong variable. So `build` makes no such event.
EVENT_THAT_HANGS_MYSQLDUMP = (
    f"CREATE EVENT {MAIN}.two_semicolons ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DO SET @a = 'DELIMITER ;;'"
)


def build(server: SandboxServer, *, small_tables: int = 2000, big_row_mib: int = 64) -> tuple[str, ...]:
    """Fill an empty server; returns the names of the databases.

    Args:
        server: its `max_allowed_packet` has to be above `big_row_mib`.
        small_tables: how many tables the database `many_tables` gets.
        big_row_mib: the size of one value; its row takes twice as much as SQL.
    """
    connection = server.connect()

    def run(statement: str, arguments: Iterable[Any] | None = None) -> None:
        rows(connection, statement, None if arguments is None else tuple(arguments))

    try:
        for statement in _settings():
            run(statement)
        for name in DATABASES:
            run(f"CREATE DATABASE {quoted(name)} CHARACTER SET utf8mb4")
        run(f"ALTER DATABASE {quoted(LATIN)} CHARACTER SET latin1 COLLATE latin1_german1_ci")
        run(f"USE {MAIN}")
        for part in (_values, _text, _columns, _tables, _names, _foreign_keys, _partitions):
            part(run)
        (_mariadb_tables if server.flavour == "mariadb" else _mysql_tables)(run)
        _big_row(run, big_row_mib)
        _many_tables(run, small_tables)
        for part in (_functions, _views, _triggers, _procedures, _events):
            part(run)
        (_mariadb_programs if server.flavour == "mariadb" else _mysql_programs)(run)
        _accounts(run, server.flavour)
    finally:
        connection.close()
    return DATABASES


def _settings() -> Iterator[str]:
    yield "SET NAMES utf8mb4"
    yield "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', foreign_key_checks = 1"


def _values(run: Run) -> None:
    """Numbers, bits, times and zones, bytes, spatial values."""
    run("""CREATE TABLE numbers (
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        big BIGINT UNSIGNED, small TINYINT, exact DECIMAL(65, 30), money DECIMAL(12, 2),
        approx DOUBLE, six_digits FLOAT, one BIT(1), many BIT(64), filled INT(8) UNSIGNED ZEROFILL, kind YEAR
    ) AUTO_INCREMENT = 1000""")
    number = "12345678901234567890123456789012345.123456789012345678901234567890"
    for row in (
        (2**64 - 1, -128, number, "-0.01", 0.1 + 0.2, 1.5, 1, 2**64 - 1, 42, 1901),
        (0, 127, "-" + number, "9999999999.99", -1.7976931348623157e308, -123456, 0, 0, 0, 2155),
        (2**53 + 1, 0, "0", "0", 5e-324, 0.00001, 1, 0x2700_5C0A_2200_2C29, 99999999, 0),
        (None,) * 10,
    ):
        run(f"INSERT INTO numbers VALUES (NULL, {', '.join(['%s'] * 7)}, %s, %s, %s)", row)
    run("SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'")
    run("INSERT INTO numbers (id, small) VALUES (0, 1), (-5, 2)")  # an AUTO_INCREMENT of 0
    run("SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'")

    run("""CREATE TABLE times (
        id INT NOT NULL PRIMARY KEY, day DATE, clock TIME(6), moment DATETIME(6), plain DATETIME,
        stamp TIMESTAMP NULL, fine TIMESTAMP(6) NULL,
        made TIMESTAMP NOT NULL DEFAULT '2001-02-03 04:05:06',
        touched TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)
    )""")
    for number, zone in enumerate(("+00:00", "+09:00", "-08:00", "+05:45"), 1):
        run(f"SET SESSION time_zone = '{zone}'")
        run(
            "INSERT INTO times VALUES (%s, '9999-12-31', '-838:59:59', '2026-03-29 02:30:00.123456', "
            "'2026-10-25 02:30:00', '2026-03-29 02:30:00', '2026-10-25 02:30:00.654321', '2026-06-01', '2026-06-02')",
            (number,),
        )
    run("SET SESSION time_zone = '+00:00'")
    run("""INSERT INTO times VALUES
        (10, '0000-00-00', '00:00:00', '0000-00-00 00:00:00', '2026-00-00 00:00:00', '0000-00-00 00:00:00',
         '0000-00-00 00:00:00', '0000-00-00 00:00:00', '2026-01-01'),
        (11, '2026-02-31', '838:59:59', '1000-01-01', '9999-12-31 23:59:59', '1970-01-01 00:00:01',
         '2038-01-19 03:14:07.999999', '2026-01-01', '2026-01-01'),
        (12, NULL, NULL, NULL, NULL, NULL, NULL, '2026-01-01', '2026-01-01')""")

    run("""CREATE TABLE bytes (
        id INT NOT NULL PRIMARY KEY, fixed BINARY(16), short VARBINARY(700), small TINYBLOB, body BLOB, big LONGBLOB,
        UNIQUE KEY (short(40))
    )""")
    noise = random.Random(7).randbytes(50_000)
    for row in (
        (1, b"\0" * 16, BYTES, b"", BYTES, noise),
        (2, b"ab\0", b"", b"'", b"\\", LOOKALIKE.encode()),
        (3, None, None, None, None, None),
        (4, b"\xff" * 16, b"\n);\nINSERT INTO `x` VALUES (", b"\x1a", b"0x4142", b"\xea\xb9"),
    ):
        run("INSERT INTO bytes VALUES (%s, %s, %s, %s, %s, %s)", row)

    run("""CREATE TABLE places (
        id INT NOT NULL PRIMARY KEY, spot POINT NOT NULL, path LINESTRING, area POLYGON, several MULTIPOINT,
        any_kind GEOMETRY, mixed GEOMETRYCOLLECTION, SPATIAL INDEX (spot)
    )""")
    run("""INSERT INTO places VALUES
        (1, ST_GeomFromText('POINT(126.978 37.5665)'), ST_GeomFromText('LINESTRING(0 0, 1.5 -1, 1e100 3)'),
         ST_GeomFromText('POLYGON((0 0, 10 0, 10 10, 0 10, 0 0), (2 2, 4 2, 4 4, 2 4, 2 2))'),
         ST_GeomFromText('MULTIPOINT(0 0, 1 1)'), ST_GeomFromText('POINT(1 2)', 4326),
         ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 1 1))')),
        (2, ST_GeomFromText('POINT(-0 0)'), NULL, NULL, NULL, NULL, NULL)""")


def _text(run: Run) -> None:
    """Korean, emoji, other character sets, what looks like SQL, ENUM and SET, JSON."""
    run("""CREATE TABLE texts (
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, short VARCHAR(300), fixed CHAR(10), body LONGTEXT,
        exact VARCHAR(300) COLLATE utf8mb4_bin, KEY (short(20))
    )""")
    for value in (
        "한글 이름: 김서연 이메일 없음",
        "이모지 😀👨‍👩‍👧‍👦🇰🇷 e\u0301 \u200b\ufeff 훈민정음 ㆍ",
        "",
        "NULL",
        "\\N",
        "\\",
        "'",
        "''\"\"``",
        "\0 \b \n \r \r\n \t \x1a %",
        "a'; DROP TABLE texts; -- ",
        "/*!50000 SELECT 1 */ # comment",
        "0x41",
        "  spaces  ",
        "*/;",
        ");\n",
        "),(1,'",
        "DELIMITER ;;\n",
        "\\.\n",
        "utf8mb4_한글_끝\n;\n",
        "/*M!999999\\- enable the sandbox mode */",
    ):
        run("INSERT INTO texts (short, fixed, body, exact) VALUES (%s, %s, %s, %s)", (value, value[:10], value, value))
    run("INSERT INTO texts (body) VALUES (%s), (%s), (NULL)", (LOOKALIKE, LOOKALIKE * 2000))

    run("""CREATE TABLE dumplike (line TEXT, note TEXT)
        COMMENT = 'Two lines,\n-- Table structure for table `members`\nand a quote: '' and \\" and \\\\;'""")
    for line in LOOKALIKE.splitlines():
        run("INSERT INTO dumplike VALUES (%s, %s)", (line, line + "\n"))

    run("""CREATE TABLE charsets (
        id INT NOT NULL PRIMARY KEY,
        latin VARCHAR(50) CHARACTER SET latin1, korean VARCHAR(50) CHARACTER SET euckr,
        wide VARCHAR(50) CHARACTER SET utf16, ascii_only VARCHAR(50) CHARACTER SET ascii,
        three_bytes VARCHAR(50) CHARACTER SET utf8mb3, sorted_by_bytes VARCHAR(50) COLLATE utf8mb4_bin
    ) DEFAULT CHARACTER SET latin1""")
    run("INSERT INTO charsets VALUES (1, 'caf\u00e9 \u20ac', '가나다 뷁', '가😀', 'plain', '가나다', '가😀')")

    run("""CREATE TABLE choices (
        id INT NOT NULL PRIMARY KEY,
        one ENUM('a', '나', 'it''s', 'x,y', 'last;') NOT NULL DEFAULT '나', several SET('a', 'b', '다', 'c''d'),
        CONSTRAINT positive CHECK (id > 0 AND one <> 'never: -- ;;')
    )""")
    run("INSERT INTO choices VALUES (1, '나', 'b,다'), (2, 'it''s', ''), (3, 'a', NULL), (4, 'x,y', 'c''d,b')")
    run("INSERT INTO choices VALUES (5, 4, 7)")
    run("INSERT INTO choices VALUES (6, 'not one of them', 'b')")  # becomes number 0 in this sql_mode

    run("CREATE TABLE documents (id INT NOT NULL PRIMARY KEY, document JSON, fallback JSON)")
    for number, document in enumerate(
        (
            '{"이름": "김서연 😀", "quote": "\\"", "path": "C:\\\\x", "line": "a\\nb", "nul": "\\u0000"}',
            "[1, 1.5, -0.00001, 123456789012345678901234567890, true, null, {}]",
            '"just a string; -- "',
            "null",
            "[" * 30 + "]" * 30,
        )
    ):
        run("INSERT INTO documents VALUES (%s, %s, NULL)", (number, document))


def _columns(run: Run) -> None:
    """Generated columns, invisible columns, defaults that are expressions, check constraints."""
    run("""CREATE TABLE computed (
        price DECIMAL(10, 2) NOT NULL,
        later INT GENERATED ALWAYS AS (quantity * 2) VIRTUAL,
        quantity INT NOT NULL,
        total DECIMAL(12, 2) GENERATED ALWAYS AS (price * quantity) STORED,
        label VARCHAR(60) GENERATED ALWAYS AS (CONCAT('품목 `; -- ', quantity)) VIRTUAL COMMENT 'it''s virtual',
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        KEY (total), KEY (label),
        CONSTRAINT `check it's > 0` CHECK (quantity >= 0 AND price < 1000000)
    )""")
    run("INSERT INTO computed (price, quantity) VALUES (9.99, 3), (0, 0), (100000, 7)")
    run("""CREATE TABLE invisible (
        id INT NOT NULL PRIMARY KEY, secret VARCHAR(50) INVISIBLE DEFAULT 'unseen', shown INT, hidden_too INT INVISIBLE
    )""")
    run("INSERT INTO invisible (id, secret, shown, hidden_too) VALUES (1, '보이지 않음', 10, 100), (2, NULL, 20, NULL)")
    run("INSERT INTO invisible VALUES (3, 30)")
    run("""CREATE TABLE defaults (
        id INT NOT NULL PRIMARY KEY,
        word VARCHAR(50) NOT NULL DEFAULT 'it''s; -- "한글" \\\\',
        made DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
        computed INT DEFAULT (1 + 2), bits BIT(8) DEFAULT b'10101010', raw BINARY(3) DEFAULT 'a\\0b'
    )""")
    run("INSERT INTO defaults (id, made) VALUES (1, '2026-01-02 03:04:05.678901')")


def _tables(run: Run) -> None:
    """Without a primary key, without rows, of another engine, with every sort of index, with a high AUTO_INCREMENT."""
    run("CREATE TABLE no_key (name VARCHAR(20), amount INT)")
    run("INSERT INTO no_key VALUES ('같은', 1), ('같은', 1), ('같은', 1), (NULL, NULL), (NULL, NULL), ('다른', 2)")
    run("CREATE TABLE no_key_too (a INT, b INT, KEY (b), KEY (a, b))")
    run("CREATE TABLE no_rows (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(10)) AUTO_INCREMENT = 777")
    run("CREATE TABLE my_isam (id INT PRIMARY KEY, body TEXT, FULLTEXT KEY (body)) ENGINE = MyISAM")
    run("INSERT INTO my_isam VALUES (1, '한글 본문 text'), (2, NULL)")
    run("""CREATE TABLE indexes (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, a INT, b VARCHAR(100), c TEXT, UNIQUE KEY `uk b` (b, a),
        KEY prefix (c(10)), FULLTEXT KEY words (b, c), PRIMARY KEY (id DESC), KEY commented (a) COMMENT 'it''s; --'
    ) ROW_FORMAT = COMPRESSED KEY_BLOCK_SIZE = 8 AUTO_INCREMENT = 18446744073709551000""")
    run("INSERT INTO indexes VALUES (1, 1, 'one', 'alpha beta'), (18446744073709551000, 2, 'two', 'gamma')")


ODD_TABLES = (
    "space name",
    "dot.name",
    "back`tick",
    "한글 표",
    "quote'\"",
    "semi;colon",
    "-- dash",
    "/*!50001 x*/",
    "percent%s",
    "back\\slash",
    "Case",
    "case",
    "DELIMITER ;;",
    "a" * 64,
    "가" * 40,
    "select",
    "new\nline",
    "members`;\n-- Table structure for table `evil",
)


def _names(run: Run) -> None:
    """Databases, tables, columns and indexes whose names need care; reserved words."""
    for table in ODD_TABLES:
        name, column, index = f"{quoted(ODD)}.{quoted(table)}", quoted("col " + table[:50]), quoted("ix " + table[:50])
        run(f"CREATE TABLE {name} (id INT PRIMARY KEY, {column} VARCHAR(90), KEY {index} ({column}))")
        run(f"INSERT INTO {name} VALUES (1, '한글 값'), (2, NULL)")
    run(f"""CREATE TABLE {quoted(RESERVED)}.`group` (
        `select` INT, `from` VARCHAR(20), `key` INT NOT NULL, `order` DATE, `values` JSON,
        PRIMARY KEY (`key`), KEY `index` (`from`)
    )""")
    run(f"INSERT INTO {quoted(RESERVED)}.`group` VALUES (1, 'where', 2, '2026-01-01', '[]')")
    run(f"INSERT INTO {quoted(RESERVED)}.`group` VALUES (NULL, NULL, 3, NULL, NULL)")
    run(f"CREATE TABLE {quoted(LATIN)}.umlauts (id INT PRIMARY KEY, word VARCHAR(20))")
    run(f"INSERT INTO {quoted(LATIN)}.umlauts VALUES (1, 'M\u00fcller \u20ac')")


def _foreign_keys(run: Run) -> None:
    """Cycles, a table that refers to itself, across databases; children that sort before their parents."""
    run("CREATE TABLE cycle_a (id INT PRIMARY KEY, b INT)")
    run("CREATE TABLE cycle_b (id INT PRIMARY KEY, a INT, CONSTRAINT to_a FOREIGN KEY (a) REFERENCES cycle_a (id))")
    run("ALTER TABLE cycle_a ADD CONSTRAINT to_b FOREIGN KEY (b) REFERENCES cycle_b (id) ON DELETE SET NULL")
    run("INSERT INTO cycle_a VALUES (1, NULL), (2, NULL)")
    run("INSERT INTO cycle_b VALUES (1, 2), (2, 1)")
    run("UPDATE cycle_a SET b = id")
    run("""CREATE TABLE trees (
        id INT PRIMARY KEY, parent INT, CONSTRAINT up FOREIGN KEY (parent) REFERENCES trees (id) ON UPDATE CASCADE
    )""")
    run("INSERT INTO trees VALUES (9, NULL), (5, 9), (1, 5)")  # each row sorts before the one that it needs
    run("CREATE TABLE z_parent (`부모 id` INT PRIMARY KEY)")
    run("INSERT INTO z_parent VALUES (1), (2)")
    run("""CREATE TABLE a_child (
        id INT PRIMARY KEY, parent INT,
        CONSTRAINT `자식` FOREIGN KEY (parent) REFERENCES z_parent (`부모 id`) ON DELETE CASCADE
    )""")
    run("INSERT INTO a_child VALUES (1, 1), (2, 2), (3, NULL)")
    run(f"""CREATE TABLE {FIRST}.other_database (
        id INT PRIMARY KEY, parent INT, CONSTRAINT far FOREIGN KEY (parent) REFERENCES {MAIN}.z_parent (`부모 id`)
    )""")
    run(f"INSERT INTO {FIRST}.other_database VALUES (1, 2)")


def _partitions(run: Run) -> None:
    run("""CREATE TABLE by_range (id INT NOT NULL, at DATE NOT NULL, note VARCHAR(20), PRIMARY KEY (id, at))
        PARTITION BY RANGE COLUMNS (at) (
            PARTITION `p 2024` VALUES LESS THAN ('2025-01-01') COMMENT = 'it''s old; --',
            PARTITION `분기 2025` VALUES LESS THAN ('2026-01-01'), PARTITION rest VALUES LESS THAN (MAXVALUE))""")
    run("INSERT INTO by_range VALUES (1, '2024-05-05', '하나'), (2, '2025-05-05', '둘'), (3, '2030-01-01', NULL)")
    run("""CREATE TABLE by_list (id INT, region VARCHAR(10))
        PARTITION BY LIST COLUMNS (region)
        (PARTITION a VALUES IN ('서울', NULL), PARTITION b VALUES IN ('it''s', '부산'))""")
    run("INSERT INTO by_list VALUES (1, '서울'), (2, NULL), (3, '부산'), (4, 'it''s')")
    run("""CREATE TABLE by_parts (id INT NOT NULL, day DATE NOT NULL)
        PARTITION BY RANGE (YEAR(day)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2
        (PARTITION p0 VALUES LESS THAN (2025), PARTITION p1 VALUES LESS THAN MAXVALUE)""")
    run("INSERT INTO by_parts VALUES (1, '2024-01-01'), (2, '2025-01-01'), (2, '2025-01-01')")
    run("CREATE TABLE by_key (id INT NOT NULL PRIMARY KEY) PARTITION BY KEY () PARTITIONS 5")
    run("INSERT INTO by_key VALUES (1), (2), (3), (4), (5), (6), (7)")


def _mariadb_tables(run: Run) -> None:
    run("CREATE TABLE versioned (id INT PRIMARY KEY, name VARCHAR(20)) WITH SYSTEM VERSIONING")
    run("""CREATE TABLE versioned_columns (
        id INT PRIMARY KEY, name VARCHAR(20), not_kept INT WITHOUT SYSTEM VERSIONING,
        since TIMESTAMP(6) GENERATED ALWAYS AS ROW START INVISIBLE,
        until TIMESTAMP(6) GENERATED ALWAYS AS ROW END INVISIBLE,
        PERIOD FOR SYSTEM_TIME (since, until)
    ) WITH SYSTEM VERSIONING""")
    for table in ("versioned", "versioned_columns"):
        run(f"INSERT INTO {table} (id, name) VALUES (1, '처음'), (2, 'stays'), (3, 'goes')")
        run(f"UPDATE {table} SET name = '나중' WHERE id = 1")
        run(f"DELETE FROM {table} WHERE id = 3")
    run("""CREATE TABLE periods (
        id INT, since DATE NOT NULL, until DATE NOT NULL, PERIOD FOR valid (since, until),
        UNIQUE (id, valid WITHOUT OVERLAPS)
    )""")
    run("INSERT INTO periods VALUES (1, '2026-01-01', '2026-02-01'), (1, '2026-02-01', '2026-03-01')")
    run("CREATE SEQUENCE tickets START WITH 100 INCREMENT BY 7 MAXVALUE 100000 CACHE 10 CYCLE")
    run("DO NEXTVAL(tickets), NEXTVAL(tickets)")
    run(f"CREATE SEQUENCE {quoted(ODD)}.`순번 1` START WITH -5 INCREMENT BY -1 MINVALUE -1000 NOCACHE")
    run("CREATE TABLE from_sequence (id INT NOT NULL DEFAULT NEXTVAL(tickets) PRIMARY KEY, name VARCHAR(10))")
    run("INSERT INTO from_sequence (name) VALUES ('하나')")
    run("""CREATE TABLE own_types (
        id UUID PRIMARY KEY, address INET6, old INET4, packed TEXT COMPRESSED, note VARCHAR(9) NOT NULL
    )""")
    run("""INSERT INTO own_types VALUES
        ('123e4567-e89b-12d3-a456-426655440000', '2001:db8::ff00:42:8329', '10.0.0.1', REPEAT('압축 ', 1000), 'x'),
        ('00000000-0000-0000-0000-000000000000', '::', NULL, NULL, 'it''s')""")
    run("CREATE TABLE in_aria (id INT PRIMARY KEY, name VARCHAR(20)) ENGINE = Aria TRANSACTIONAL = 1 PAGE_CHECKSUM = 1")
    run("INSERT INTO in_aria VALUES (1, '아리아')")
    run("CREATE TABLE page_compressed (id INT PRIMARY KEY, body TEXT) PAGE_COMPRESSED = 1")
    run("INSERT INTO page_compressed VALUES (1, REPEAT('x', 5000))")
    run("CREATE TABLE ignored_index (id INT PRIMARY KEY, a INT, KEY unused (a) IGNORED)")


def _mysql_tables(run: Run) -> None:
    run("""CREATE TABLE functional (
        id INT PRIMARY KEY, name VARCHAR(50), document JSON DEFAULT (JSON_OBJECT('k', '값; --')),
        tags JSON DEFAULT (JSON_ARRAY()), uuid BINARY(16) DEFAULT (UUID_TO_BIN('123e4567-e89b-12d3-a456-426655440000')),
        KEY lowered ((LOWER(name))), UNIQUE KEY computed ((id * 2), name DESC),
        KEY tag_numbers ((CAST(tags AS UNSIGNED ARRAY))),
        KEY unseen (name) INVISIBLE, CONSTRAINT lax CHECK (id <> 3) NOT ENFORCED
    )""")
    run("INSERT INTO functional (id, name, tags) VALUES (1, '가', '[1, 2, 3]'), (2, 'B', '[]'), (3, NULL, NULL)")
    run("CREATE TABLE vectors (id INT PRIMARY KEY, v VECTOR(4) NOT NULL, w VECTOR(128))")
    run("INSERT INTO vectors VALUES (1, STRING_TO_VECTOR('[1, -0.1, 3e-30, 16777215]'), NULL)")
    vector = "[" + ",".join(str(random.Random(3).random() - 0.5) for _ in range(128)) + "]"
    run("INSERT INTO vectors VALUES (2, STRING_TO_VECTOR('[0, 0, 0, 0]'), STRING_TO_VECTOR(%s))", (vector,))
    run("CREATE TABLE earth (id INT PRIMARY KEY, spot POINT NOT NULL SRID 4326, SPATIAL INDEX (spot))")
    run("INSERT INTO earth VALUES (1, ST_GeomFromText('POINT(37.5665 126.978)', 4326))")
    run("SET SESSION sql_generate_invisible_primary_key = ON")
    run("CREATE TABLE generated_key (name VARCHAR(20))")
    run("SET SESSION sql_generate_invisible_primary_key = OFF")
    run("INSERT INTO generated_key VALUES ('가'), ('나'), ('가')")
    run("DELETE FROM generated_key WHERE my_row_id = 2")
    run("""CREATE TABLE collations (
        a VARCHAR(20) COLLATE utf8mb4_0900_as_cs, b VARCHAR(20) COLLATE utf8mb4_ja_0900_as_cs
    )""")
    run("INSERT INTO collations VALUES ('가A\u00e9', 'かな')")


def _big_row(run: Run, mebibytes: int) -> None:
    run("CREATE TABLE big_rows (id INT PRIMARY KEY, body LONGBLOB, note VARCHAR(50))")
    run("INSERT INTO big_rows VALUES (1, 'before', '앞')")
    run("INSERT INTO big_rows VALUES (2, %s, 'big')", (random.Random(11).randbytes(mebibytes << 20),))
    run("INSERT INTO big_rows VALUES (3, 'after', '뒤')")


def _many_tables(run: Run, count: int) -> None:
    """Every tenth of them is empty."""
    run(f"USE {MANY}")
    for number in range(count):
        run(f"CREATE TABLE t{number:05} (id INT NOT NULL PRIMARY KEY, v VARCHAR(40))")
        if number % 10:
            run(f"INSERT INTO t{number:05} VALUES (1, '{number}'), (2, '한글 {number}'), (3, NULL)")
    run(f"USE {MAIN}")


def _functions(run: Run) -> None:
    run("""CREATE FUNCTION doubled(n INT) RETURNS INT DETERMINISTIC COMMENT 'it''s; -- "doubled"' RETURN n * 2""")
    run("""CREATE FUNCTION `함수 이름`(`인자` VARCHAR(50)) RETURNS VARCHAR(100) CHARACTER SET utf8mb4
        DETERMINISTIC NO SQL RETURN CONCAT('안녕 ', `인자`, ' 😀; DELIMITER ;;')""")
    run(
        f"CREATE DEFINER = {GHOST} FUNCTION of_a_ghost() RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM texts)"
    )
    run(f"CREATE FUNCTION {quoted(RESERVED)}.`function`() RETURNS INT DETERMINISTIC RETURN 1")


def _views(run: Run) -> None:
    """Views on views, across databases, before and after what they need in the alphabet."""
    run("CREATE VIEW v_base AS SELECT id, short, `exact` FROM texts WHERE id < 5")
    run("CREATE VIEW z_on_base AS SELECT id, short, doubled(id) AS twice FROM v_base")
    run("CREATE VIEW a_on_z AS SELECT id, twice, short FROM z_on_base WHERE id > 1")
    run("CREATE VIEW m_on_both AS SELECT a.id, z.twice FROM a_on_z a JOIN z_on_base z ON z.id = a.id")
    run("""CREATE ALGORITHM = MERGE SQL SECURITY INVOKER VIEW `뷰 `` 이름` AS
        SELECT id AS `번호`, short AS `it's "quoted"`, '; -- DELIMITER ;;' AS `select` FROM texts
        WITH CASCADED CHECK OPTION""")
    run("CREATE ALGORITHM = TEMPTABLE VIEW counted AS SELECT name, COUNT(*) AS n FROM no_key GROUP BY name")
    run("CREATE VIEW constants AS SELECT 1 AS one, '가' AS `가`, CAST(1.5 AS DECIMAL(5, 2)) AS d, NOW() > 0 AS t")
    run(f"CREATE DEFINER = {GHOST} VIEW of_a_ghost AS SELECT id FROM texts")
    run(f"CREATE DEFINER = {GHOST} SQL SECURITY INVOKER VIEW of_a_ghost_invoked AS SELECT id FROM texts")
    run(f"CREATE VIEW {FIRST}.a_first AS SELECT m.id, m.twice, o.`key` FROM {MAIN}.m_on_both m, `{RESERVED}`.`group` o")
    run(f"CREATE VIEW {FIRST}.b_second AS SELECT id, twice FROM {FIRST}.a_first WHERE `key` = 2")
    run(f"CREATE VIEW {MAIN}.back_again AS SELECT id, {MAIN}.`함수 이름`(twice) AS greeting FROM {FIRST}.b_second")
    run(f"CREATE VIEW {quoted(ODD)}.`v ``x``.y` AS SELECT * FROM {quoted(ODD)}.`back``tick`")
    run(f"CREATE VIEW {quoted(RESERVED)}.`view` AS SELECT `select`, `from` FROM {quoted(RESERVED)}.`group`")


def _triggers(run: Run) -> None:
    """Several for one table and moment. They change what is inserted: rows have to be loaded before them."""
    run("""CREATE TABLE guarded (
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100), version INT NOT NULL DEFAULT 0
    )""")
    run("CREATE TABLE guard_log (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, what TEXT, at INT)")
    run("INSERT INTO guarded (name, version) VALUES ('before any trigger', 5), ('한글', 0)")
    run("CREATE TRIGGER guarded_bi BEFORE INSERT ON guarded FOR EACH ROW SET NEW.version = NEW.version + 1")
    run("""CREATE TRIGGER guarded_bi_2 BEFORE INSERT ON guarded FOR EACH ROW FOLLOWS guarded_bi
    BEGIN
        -- Table structure for table `guarded`
        /* DELIMITER ;; */
        SET NEW.name = CONCAT(NEW.name, ';;', 'DELIMITER ;
DELIMITER ;;
-- Dump completed on 2026-01-01
', "it's \\"quoted\\" \\\\");
    END""")
    run("""CREATE TRIGGER guarded_bi_0 BEFORE INSERT ON guarded FOR EACH ROW PRECEDES guarded_bi
        SET NEW.version = NEW.version * 10""")
    run("""CREATE TRIGGER guarded_ai AFTER INSERT ON guarded FOR EACH ROW
    BEGIN
        # INSERT INTO `x` VALUES (1);
        INSERT INTO guard_log (what, at) VALUES (CONCAT('추가 ;; ', NEW.name), NEW.id);
    END""")
    run("""CREATE TRIGGER guarded_bu BEFORE UPDATE ON guarded FOR EACH ROW
        IF NEW.version < OLD.version THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '버전; -- DELIMITER'; END IF""")
    run("CREATE TRIGGER guarded_au AFTER UPDATE ON guarded FOR EACH ROW INSERT INTO guard_log (what) VALUES ('update')")
    run("CREATE TRIGGER guarded_bd BEFORE DELETE ON guarded FOR EACH ROW INSERT INTO guard_log (what) VALUES ('bd')")
    run(f"""CREATE DEFINER = {GHOST} TRIGGER `삭제 ``후``` AFTER DELETE ON guarded FOR EACH ROW
        INSERT INTO guard_log (what) VALUES ('ghost')""")
    run(f"""CREATE TRIGGER {quoted(ODD)}.`트리거 ; --` BEFORE UPDATE ON {quoted(ODD)}.`한글 표` FOR EACH ROW
        SET NEW.id = OLD.id""")
    # in a sql_mode where a backslash is a character like any other, and "x" is a name
    run("SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'")
    run("""CREATE TRIGGER "ansi trigger" BEFORE INSERT ON texts FOR EACH ROW
    BEGIN
        SET NEW.short = NEW."short" || '\\';
        SET NEW.fixed = ';;';
    END""")
    run("SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'")


def _procedures(run: Run) -> None:
    run("""CREATE PROCEDURE looks_like_a_dump(IN `입력` INT, INOUT io VARCHAR(20), OUT `out` TEXT)
        MODIFIES SQL DATA SQL SECURITY INVOKER COMMENT '-- Dumping routines for database ''x'';'
    BEGIN
        DECLARE marker TEXT DEFAULT 'DELIMITER ;;';
        DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
        -- DELIMITER ;;
        -- it's a comment with one quote, and a ` backtick
        # "another
        /* a ;; comment
DELIMITER ;
        -- Table structure for table `x`
        */
        SET `out` = '
DELIMITER ;
;;
END ;;
DELIMITER ;;
-- Dumping data for table `texts`
INSERT INTO `texts` VALUES (1);
';
        SET io = "double ;; \\" and '' quotes \\\\";
        label: LOOP
            IF `입력` > 0 THEN LEAVE label; END IF;
            SET `입력` = `입력` + 1;
        END LOOP;
        SELECT CASE WHEN `입력` > 1 THEN 'many;;' ELSE '하나' END AS `result;;`;
    END""")
    run("SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,STRICT_ALL_TABLES'")
    run("""CREATE PROCEDURE "no backslash escapes"()
    BEGIN
        SELECT 'C:\\' AS "it's", '\\' || ';;' AS "a""b", ';;\\' AS c;
    END""")
    run("SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'")
    run("CREATE PROCEDURE one_line() SELECT 1")
    run(f"CREATE DEFINER = {GHOST} PROCEDURE of_a_ghost() SELECT 'ghost'")
    run(f"CREATE PROCEDURE {quoted(ODD)}.`절차 ``.; --`() SELECT 1")
    run("SET NAMES latin1")
    run("CREATE PROCEDURE made_in_latin1() SELECT 'caf\xe9' AS word".encode("latin1"))
    run("SET NAMES utf8mb4")


def _events(run: Run) -> None:
    """All far ahead or off, so that nothing changes by itself; MariaDB's calendar ends in 2038."""
    run("SET SESSION time_zone = '+09:00'")
    run("""CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 03:00:00' ENDS '2037-12-31 00:00:00'
        ON COMPLETION PRESERVE COMMENT 'it''s; --' DO
    BEGIN
        -- Dumping events for database 'x'
        DELETE FROM guard_log WHERE what LIKE '%DELIMITER ; ;%';
        SET @x = '; ;
DELIMITER ;
DELIMITER //
// $$
';
    END""")
    run("SET SESSION time_zone = '+00:00'")
    run("""CREATE EVENT `한 번 ``만``` ON SCHEDULE AT '2037-05-05 05:05:05' ON COMPLETION PRESERVE DISABLE
        DO SET @a = ';'""")
    run(f"""CREATE DEFINER = {GHOST} EVENT of_a_ghost ON SCHEDULE EVERY '1:30' HOUR_MINUTE STARTS '2037-01-01' DISABLE
        DO SET @a = 1""")
    run(f"CREATE EVENT {quoted(ODD)}.`이벤트` ON SCHEDULE EVERY 2 WEEK STARTS '2037-01-01 00:00:00' DO SET @a = 1")


def _mariadb_programs(run: Run) -> None:
    run("SET SESSION sql_mode = 'ORACLE'")
    run("""CREATE PACKAGE tools AS
        FUNCTION twice(n INT) RETURN INT;
        PROCEDURE nothing;
    END""")
    run("""CREATE PACKAGE BODY tools AS
        secret INT := 1; -- DELIMITER ;;
        FUNCTION twice(n INT) RETURN INT AS BEGIN RETURN n * 2; END;
        PROCEDURE nothing AS BEGIN NULL; END;
    END""")
    run("SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'")
    run("""CREATE AGGREGATE FUNCTION last_one(x INT) RETURNS INT DETERMINISTIC
    BEGIN
        DECLARE result INT;
        DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN result;
        LOOP
            FETCH GROUP NEXT ROW;
            SET result = x;
        END LOOP;
    END""")
    run("CREATE VIEW on_sequence AS SELECT next_not_cached_value AS n, cycle_option FROM tickets")


def _mysql_programs(run: Run) -> None:
    run("""CREATE LIBRARY greetings COMMENT 'it''s; --' LANGUAGE JAVASCRIPT AS $js$
// DELIMITER ;;
export function hello(name) { return "안녕; -- " + name + ';;'; }
$js$""")
    run("""CREATE JSON RELATIONAL DUALITY VIEW guarded_documents AS
        SELECT JSON_DUALITY_OBJECT('_id': id, 'name': name, 'version': version) FROM guarded""")


def _accounts(run: Run, flavour: Flavour) -> None:
    """Passwords, odd names, roles within roles, rights of every level, locked and limited accounts."""
    run("CREATE USER 'app'@'%' IDENTIFIED BY 'p''a\\\\ss\"w;--'")
    run("CREATE USER 'app'@'10.0.0.0/255.255.255.0' IDENTIFIED BY '한글 비밀번호'")
    run("""CREATE USER 'it''s "odd" `name`'@'localhost' IDENTIFIED BY 'x' REQUIRE SSL
        WITH MAX_QUERIES_PER_HOUR 10 ACCOUNT LOCK""")
    run("CREATE USER '사용자'@'%' REQUIRE SUBJECT '/C=KR/CN=spoqplus' PASSWORD EXPIRE INTERVAL 90 DAY")
    run("CREATE ROLE readers, `역할 a`")
    run(f"GRANT SELECT ON {MAIN}.* TO readers")
    run(f"GRANT INSERT, UPDATE ON {quoted(ODD)}.* TO `역할 a`")
    run("GRANT readers TO `역할 a`")
    run("GRANT `역할 a` TO 'app'@'%'")
    run("SET DEFAULT ROLE `역할 a` FOR 'app'@'%'" if flavour == "mariadb" else "SET DEFAULT ROLE `역할 a` TO 'app'@'%'")
    run("GRANT SELECT ON `spoq\\_%`.* TO 'app'@'%' WITH GRANT OPTION")
    run(f"GRANT SELECT (id, short), UPDATE (body), REFERENCES (id) ON {MAIN}.texts TO '사용자'@'%'")
    run(f"GRANT ALL ON {quoted(ODD)}.`back``tick` TO '사용자'@'%'")
    run(f"GRANT EXECUTE ON PROCEDURE {MAIN}.looks_like_a_dump TO 'app'@'%'")
    run(f"GRANT EXECUTE ON FUNCTION {MAIN}.`함수 이름` TO readers")
    run("GRANT RELOAD, PROCESS, REPLICATION CLIENT ON *.* TO 'it''s \"odd\" `name`'@'localhost'")
