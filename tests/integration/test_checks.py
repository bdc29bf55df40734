"""The checks of a recovery test on real servers: good data pass, and each sabotage turns red with the right words."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import spoq_data
from spoqplus_backup.core.mysql import client, server
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.proof.definitions import check_names, load_checks
from spoqplus_backup.core.proof.measure import measure
from spoqplus_backup.core.proof.scene import Scene
from spoqplus_backup.core.settings import load_settings
from support.proof import as_production, bare_plan, fails, make_scene, passes, planned_folder
from support.servers import client_directory, login, run
from support.site_file import write_site

pytestmark = pytest.mark.integration

FACES = "var/www/html/face_images"
OF_DATA = ("records", "integrity", "faces")


def shipped(scene: Scene) -> list[str]:
    """The checks of the shipped files."""
    return [check.name for check in check_names(scene.settings)][4:]


@pytest.fixture
def club(db_server: SandboxServer, tmp_path: Path) -> Scene:
    """Production's data on a server that plays the restored one, with an image for every face."""
    spoq_data.load(db_server.connect, 1)
    root = tmp_path / "restored"
    for (path,) in run(db_server, "SELECT image_path FROM spoqplus.member_faces"):
        image = root / "var/www/html" / path
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()
    plan = bare_plan((planned_folder("face_images", root, FACES),), f"{db_server.flavour} of a test")
    faces = {"directory": f"/{FACES}"}
    settings = load_settings(write_site(tmp_path, faces=faces))
    return as_production(tmp_path, settings, login(db_server), plan=plan, files_root=root)


def sabotage(target: SandboxServer, *statements: str) -> None:
    run(target, "SET foreign_key_checks = 0", "USE spoqplus", *statements)


def test_good_data_pass_every_check(club: Scene) -> None:
    said = {name: passes(name, club) for name in (*OF_DATA, *shipped(club))}
    assert len(said) == 13
    assert "rows of 7 tables and 12 definitions are production's at " in said["records"]
    assert "CHECK TABLE found no fault in 7 tables." in said["integrity"]
    assert "Every row has its parent by 7 foreign keys." in said["integrity"]
    assert "1 views answer; 3 triggers, routines and events have their definers (0 exceptions)." in said["integrity"]
    assert "273 encodings of 208 members: each has 128 finite numbers." in said["faces"]
    assert "273 images are there." in said["faces"]
    assert "20 of them, slightly changed, were looked for among all" in said["faces"]
    assert "the same as in production." in said["payments_per_month"]


PAYMENT = "INSERT INTO payments VALUES (999999, 888888, 1, 1000, 'card', 'paid', REPEAT('a', 32), NULL, '2025-01-01')"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        pytest.param(
            PAYMENT,
            {
                "records": "spoqplus.payments: there are rows that production does not have, the first ones have the "
                'keys ["999999"].',
                "integrity": "Rows of spoqplus.payments without their partner in spoqplus.members (foreign key "
                "fk_payments_member): 1. The keys of the first ones: 999999.",
                "payments_have_members": "Rows found: 1; expected: 0. The first ones: 999999.",
                "payments_per_month": "These differ (1): 2025-01 paid.",
            },
            id="payment without member",
        ),
        pytest.param(
            "UPDATE members SET phone = '010-0000-0000' WHERE id = 7",
            {"records": 'spoqplus.members: rows are not the same, the first ones have the keys ["7"].'},
            id="row changed",
        ),
        pytest.param(
            "DELETE FROM face_recognition_logs WHERE id = 11",
            {"records": 'spoqplus.face_recognition_logs: rows are missing, the first ones have the keys ["11"].'},
            id="row lost",
        ),
        pytest.param(
            "DROP TABLE reservations",
            {"records": "spoqplus.reservations is missing; production has 229 rows in it."},
            id="table lost",
        ),
        pytest.param(
            "DROP TRIGGER payments_after_insert",
            {"records": "The definition of the trigger spoqplus.payments_after_insert is missing."},
            id="trigger lost",
        ),
        pytest.param(
            "DROP TABLE products",
            {
                "integrity": "The foreign key fk_payments_product of spoqplus.payments leads to nothing that can ",
                "payments_have_products": "It could not be looked at: The server ",
            },
            id="parents lost",
        ),
        pytest.param(
            "ALTER TABLE members DROP COLUMN phone",
            {"integrity": "The view spoqplus.active_members can't be used: The server "},
            id="view broken",
        ),
        pytest.param(
            "UPDATE payments SET transaction_no = '' WHERE id = 3",
            {"payments_have_transactions": "Rows found: 1; expected: 0. The first ones: "},
            id="payment without transaction",
        ),
        pytest.param(
            "DELETE FROM members WHERE id = (SELECT member_id FROM sessions ORDER BY id LIMIT 1)",
            {"sessions_have_members": "expected: 0. The first ones: ", "members_by_status": "These differ (1): "},
            id="session without member",
        ),
        pytest.param(
            "UPDATE members SET password_hash = LEFT(password_hash, 59) WHERE id = 5",
            {"password_hashes": "Rows found: 1; expected: 0. The first ones: 5."},
            id="password hash cut short",
        ),
        pytest.param(
            "UPDATE member_faces SET encoding = LEFT(encoding, 500) WHERE id = 9",
            {
                "faces": "Encoding 9 of member 9 is neither a whole JSON array of numbers nor 128 packed floats.",
                "faces_by_model": "These differ (1): ",
            },
            id="encoding cut short",
        ),
        pytest.param(
            "UPDATE member_faces SET encoding = '[0.5, 0.5]' WHERE id = 9",
            {"faces": "Encoding 9 of member 9 has 2 numbers, not 128."},
            id="encoding with fewer numbers",
        ),
        pytest.param(
            "UPDATE member_faces SET encoding = CONCAT('[NaN', REPEAT(',0.1', 127), ']') WHERE id = 9",
            {"faces": "Encoding 9 of member 9 holds numbers that are not finite (NaN or infinity)."},
            id="NaN",
        ),
        pytest.param(
            "UPDATE member_faces a JOIN member_faces b ON b.id = 3 SET a.encoding = b.encoding, a.is_active = 1, "
            "b.is_active = 1 WHERE a.id = 4",
            {"faces": "Members 4 and 3 have one and the same encoding (that of 4): nobody can tell them apart."},
            id="one encoding for two members",
        ),
        pytest.param(
            "DELETE FROM member_faces",
            {"faces": "`recovery_test.faces.query` found no encoding, so nothing was proved"},
            id="no encodings",
        ),
    ],
)
def test_sabotage(club: Scene, db_server: SandboxServer, statement: str, said: dict[str, str]) -> None:
    sabotage(db_server, "UPDATE member_faces SET is_active = 1 WHERE id = 9", statement)
    for name, words in said.items():
        assert words in fails(name, club)


def test_an_image_that_is_gone(club: Scene, db_server: SandboxServer) -> None:
    ((number, member, path), *_) = run(
        db_server, "SELECT id, member_id, image_path FROM spoqplus.member_faces WHERE is_active = 1 ORDER BY id"
    )
    assert club.files_root is not None
    (club.files_root / "var/www/html" / path).unlink()
    assert fails("faces", club) == f"Encoding {number} of member {member}: its image {path} is missing."


@pytest.mark.parametrize("path", ["../../../../etc/passwd", "/etc/passwd", "face_images/000", "face_images"])
def test_a_path_that_is_no_image_of_the_backup(club: Scene, db_server: SandboxServer, path: str) -> None:
    sabotage(db_server, f"UPDATE member_faces SET is_active = 1, image_path = '{path}' WHERE id = 9")
    assert fails("faces", club) == f"Encoding 9 of member 9: its image {path} is missing."


def test_images_that_were_not_restored(club: Scene) -> None:
    scene = replace(club, plan=bare_plan())
    said = fails("faces", scene)
    assert said == f"face_images was not restored from {scene.plan.backup}, so no image can be looked at."


def with_faces(club: Scene, directory: Path, **faces: Any) -> Scene:
    """The same scene under other settings of the face check."""
    test = {"faces": {"images": None} | faces}
    return replace(club, settings=load_settings(write_site(directory, recovery_test=test)))


@pytest.mark.parametrize(("letter", "size"), [("f", 4), ("d", 8)])
def test_encodings_that_are_packed(
    club: Scene, db_server: SandboxServer, tmp_path: Path, letter: str, size: int
) -> None:
    rows = run(db_server, "SELECT id, encoding FROM spoqplus.member_faces")
    packed = [(number, struct.pack(f"<128{letter}", *json.loads(text)).hex()) for number, text in rows]
    values = ", ".join(
        f"({number}, (SELECT member_id FROM member_faces WHERE id = {number}), 0x{text})" for number, text in packed
    )
    sabotage(
        db_server, "CREATE TABLE packed (id INT, member_id INT, encoding BLOB)", f"INSERT INTO packed VALUES {values}"
    )
    scene = with_faces(club, tmp_path, query="SELECT id, member_id, encoding, NULL FROM spoqplus.packed")
    assert f"{len(rows):,} encodings of 229 members" in passes("faces", scene)
    sabotage(db_server, f"UPDATE packed SET encoding = LEFT(encoding, {128 * size - 1}) WHERE id = 2")
    assert "Encoding 2 of member 2 is neither" in fails("faces", scene)


def test_a_query_of_too_few_columns(club: Scene, tmp_path: Path) -> None:
    scene = with_faces(club, tmp_path, query="SELECT id, encoding FROM spoqplus.member_faces")
    assert "`recovery_test.faces.query` gives 2 columns" in fails("faces", scene)


def test_a_search_that_finds_somebody_else(club: Scene, db_server: SandboxServer, tmp_path: Path) -> None:
    """Encodings of all members are nearly the same: nobody can be told by a slightly changed one."""
    array = "CONCAT('[1.00000', LPAD(id, 3, '0'), REPEAT(',1.0', 127), ']')"
    scene = with_faces(club, tmp_path, query=f"SELECT id, id, {array}, NULL FROM spoqplus.members")
    assert ", slightly changed, is nearest to one of member " in fails("faces", scene)


# ---- integrity beyond the site's schema ------------------------------------------------------------------------------


@pytest.fixture
def bare(db_server: SandboxServer, tmp_path: Path) -> Callable[..., Scene]:
    """The scene of an empty server, on which statements are run before production is measured."""

    def make(*statements: str) -> Scene:
        run(db_server, "CREATE DATABASE `c``lub`", "USE `c``lub`", *statements)
        return as_production(tmp_path, load_settings(write_site(tmp_path)), login(db_server))

    return make


def test_foreign_keys_of_several_columns(db_server: SandboxServer, bare: Callable[..., Scene]) -> None:
    scene = bare(
        "CREATE TABLE parent (a INT, b VARCHAR(9), PRIMARY KEY (a, b))",
        "CREATE TABLE child (id INT PRIMARY KEY, x INT, y VARCHAR(9), `of` INT, "
        "CONSTRAINT both_of_them FOREIGN KEY (x, y) REFERENCES parent (a, b), "
        "CONSTRAINT itself FOREIGN KEY (`of`) REFERENCES child (id))",
        "INSERT INTO parent VALUES (1, 'one'), (2, 'two')",
        "INSERT INTO child VALUES (1, 1, 'one', NULL), (2, NULL, 'nobody', 1), (3, 7, NULL, 3), (4, NULL, NULL, NULL)",
    )
    assert "Every row has its parent by 2 foreign keys." in passes("integrity", scene)
    run(
        db_server,
        "SET foreign_key_checks = 0",
        "INSERT INTO `c``lub`.child VALUES (5, 1, 'two', NULL), (6, 2, 'two', 99)",
    )
    assert fails("integrity", scene).splitlines() == [
        "Rows of c`lub.child without their partner in c`lub.parent (foreign key both_of_them): 1. The keys of the "
        "first ones: 5.",
        "Rows of c`lub.child without their partner in c`lub.child (foreign key itself): 1. The keys of the first "
        "ones: 6.",
    ]


def test_a_damaged_table(db_server: SandboxServer, bare: Callable[..., Scene]) -> None:
    scene = bare("CREATE TABLE old (id INT PRIMARY KEY, name VARCHAR(99)) ENGINE = MyISAM", "CREATE TABLE new (id INT)")
    run(db_server, "INSERT INTO `c``lub`.old VALUES (1, 'a'), (2, 'b')", "FLUSH TABLES")
    assert "CHECK TABLE found no fault in 2 tables." in passes("integrity", scene)
    (file,) = db_server.datadir.glob("*/old.MYD")
    file.write_bytes(file.read_bytes()[:-8])
    run(db_server, "FLUSH TABLES")
    said = fails("integrity", scene)
    run(db_server, "DROP TABLE `c``lub`.old")
    for left in db_server.datadir.glob("*/old*"):  # MariaDB repairs, and keeps the damaged file
        left.unlink()
    assert "CHECK TABLE says of c`lub.old: " in said


BROKEN = (
    "CREATE TABLE t (id INT, name INT)",
    "CREATE VIEW sound AS SELECT id FROM t",
    "CREATE VIEW bad AS SELECT name FROM t",
    "CREATE FUNCTION sound_function() RETURNS INT DETERMINISTIC RETURN 1",
    "CREATE DEFINER = `gone`@`%` FUNCTION bad_function() RETURNS INT DETERMINISTIC RETURN 1",
    "CREATE DEFINER = `gone`@`%` PROCEDURE own_rights() SQL SECURITY INVOKER SELECT 1",
    "CREATE DEFINER = `gone`@`%` TRIGGER bad_trigger BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1",
    "ALTER TABLE t DROP COLUMN name",
)
NAMES = ("view c`lub.bad", "function c`lub.bad_function", "trigger c`lub.bad_trigger")


def test_what_is_broken_in_production_too_is_evidence(bare: Callable[..., Scene]) -> None:
    said = passes("integrity", bare(*BROKEN))
    for name in NAMES:
        assert f"The {name} can't be used, in production neither: " in said
    assert "(3 exceptions)" in said
    assert "sound" not in said
    assert "own_rights" not in said


def test_what_is_broken_here_alone_is_a_fault(db_server: SandboxServer, bare: Callable[..., Scene]) -> None:
    scene = bare()
    run(db_server, "USE `c``lub`", *BROKEN)
    said = fails("integrity", scene)
    for name in NAMES:
        assert f"The {name} can't be used: " in said
    assert "its definer gone@% is no account of this server" in said
    assert len(said.splitlines()) == len(NAMES)


def test_what_nobody_looked_at_in_production_is_evidence(bare: Callable[..., Scene]) -> None:
    said = passes("integrity", replace(bare(*BROKEN), measured={}))
    for name in NAMES:
        assert f"The {name} can't be used; whether it can in production is not known: " in said


# ---- queries of files ------------------------------------------------------------------------------------------------


def asking(directory: Path, target: SandboxServer, sql: str, expect: Any, measured: Any = None, **fields: Any) -> Scene:
    """A scene with a check `question`."""
    folder = directory / "checks"
    folder.mkdir(exist_ok=True)
    check = {"name": "question", "title": {"ko": "질문", "en": "A question"}, "sql": sql, "expect": expect} | fields
    (folder / "question.yaml").write_text(yaml.safe_dump({"checks": [check]}))
    settings = load_settings(write_site(directory, recovery_test={"checks": ["checks"]}))
    if measured is None:
        return as_production(directory, settings, login(target))
    return make_scene(directory, settings, login(target), measured=measured)


@pytest.mark.parametrize(
    ("sql", "expect", "wrong", "said"),
    [
        ("SELECT 3", 3, 4, "The query answered 3; expected: 4."),
        ("SELECT 1.50", 1.5, 1.49, "The query answered 1.50; expected: 1.49."),
        ("SELECT 'yes'", "yes", "no", "The query answered (...); expected: no."),
        ("SELECT '김하나 010'", "김하나 010", 5, "The query answered (...); expected: 5."),
        ("SELECT 1 UNION SELECT NULL ORDER BY 1 DESC", 1, 0, "The query answered 1; expected: 0."),
        ("SELECT 7 UNION SELECT 8", {"rows": 2}, {"rows": 1}, "Rows found: 2; expected: 1. The first ones: 7, 8."),
        ("SELECT 7 UNION SELECT 8", {"at_most": 2}, {"at_most": 1}, "expected: 1 or fewer. The first ones: 7, 8."),
        ("SELECT 7 UNION SELECT 8", {"at_least": 2}, {"at_least": 3}, "Rows found: 2; expected: 3 or more."),
        ("SELECT 7 WHERE 1 = 0", {"empty": True}, 7, "The query found no row; expected: 7."),
        ("SELECT 7, 'private'", {"rows": 1}, {"empty": True}, "Rows found: 1; expected: 0. The first ones: 7."),
    ],
)
def test_expectations(db_server: SandboxServer, tmp_path: Path, sql: str, expect: Any, wrong: Any, said: str) -> None:
    passes("question", asking(tmp_path, db_server, sql, expect, {}))
    found = fails("question", asking(tmp_path, db_server, sql, wrong, {}))
    assert said in found
    assert "private" not in found


KINDS_OF_VALUES = (
    "SELECT id, price, big, at, day, span, raw, ratio, name FROM `c``lub`.kinds",
    "CREATE TABLE kinds (id INT, price DECIMAL(20, 4), big BIGINT UNSIGNED, at DATETIME(6), day DATE, span TIME, "
    "raw VARBINARY(9), ratio DOUBLE, name VARCHAR(20))",
    "INSERT INTO kinds VALUES (1, 12.3400, 18446744073709551615, '2026-01-02 03:04:05.000006', '2026-01-02', "
    "'-100:00:01', 0x00ff, 0.1, '김하나'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), "
    "(2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
)


def test_all_kinds_of_values_are_compared_with_production_s(db_server: SandboxServer, tmp_path: Path) -> None:
    sql, *statements = KINDS_OF_VALUES
    run(db_server, "CREATE DATABASE `c``lub`", "USE `c``lub`", *statements)
    scene = asking(tmp_path, db_server, sql, {"same_as_production": True})
    assert passes("question", scene) == "Rows found: 3, the same as in production."
    run(db_server, "UPDATE `c``lub`.kinds SET price = 12.3401 WHERE id = 1")
    assert fails("question", scene) == "Rows found: 3, in production: 3. These differ (1): 1."
    run(
        db_server,
        "UPDATE `c``lub`.kinds SET price = 12.34 WHERE id = 1",
        "DELETE FROM `c``lub`.kinds WHERE id = 2 LIMIT 1",
    )
    assert fails("question", scene) == "Rows found: 2, in production: 3. These differ (1): 2."


def test_what_production_could_not_answer(db_server: SandboxServer, tmp_path: Path) -> None:
    same = {"same_as_production": True}
    scene = asking(tmp_path, db_server, "SELECT 1 FROM club.missing", same)
    run(db_server, "CREATE DATABASE club", "CREATE TABLE club.missing (id INT)")
    assert fails("question", scene).startswith("Production refused the query: The server ")
    assert "Production was not asked" in fails("question", asking(tmp_path, db_server, "SELECT 1", same, {"other": []}))


NUMBERS = (
    f"WITH d AS (SELECT 0 n {' '.join(f'UNION ALL SELECT {n}' for n in range(1, 10))}) "
    "SELECT a.n FROM d a, d b, d c, d e, d f, d g"
)


def test_answers_are_bounded(db_server: SandboxServer, tmp_path: Path) -> None:
    scene = asking(tmp_path, db_server, NUMBERS, {"same_as_production": True})
    measured = scene.measured["question"]
    assert isinstance(measured, list)
    assert len(measured) == 10_001
    assert "finds more than 10000 rows, too many to compare" in fails("question", scene)
    assert "Rows found: 10000+; expected: 3 or fewer." in fails(
        "question", asking(tmp_path, db_server, NUMBERS, {"at_most": 3}, {})
    )


def test_measuring_leaves_the_snapshot_as_it_is(db_server: SandboxServer, tmp_path: Path) -> None:
    run(db_server, "CREATE DATABASE club", "CREATE TABLE club.t (n INT)", f"INSERT INTO club.t {NUMBERS} LIMIT 20000")
    same = {"same_as_production": True}
    settings = asking(tmp_path, db_server, "SELECT COUNT(*) FROM club.t", same, {}).settings
    with server.connect(login(db_server)) as connection:
        connection.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        run(db_server, "DELETE FROM club.t")
        assert measure(connection, load_checks(settings)) == {"integrity": {}, "question": [[20_000]]}
        assert len(connection.rows("SELECT n FROM club.t")) == 20_000


def test_a_login_that_may_not_see_the_accounts(db_server: SandboxServer) -> None:
    run(db_server, "CREATE USER reader@localhost IDENTIFIED BY 'pw'", "CREATE DATABASE club")
    reader = replace(login(db_server), user="reader", password="pw")
    with server.connect(reader) as connection:
        assert measure(connection, (), ["club"]) == {}


def test_a_command_finds_the_sandbox(db_server: SandboxServer, tmp_path: Path) -> None:
    mysql = client.find("mysql", client_directory(db_server.flavour), db_server.flavour).path
    question = f'"$({mysql} --defaults-file="$SPOQPLUS_SANDBOX_DEFAULTS" --batch -Ne "SELECT 6 * 7")"'
    check = {"name": "tests", "title": {"ko": "시험", "en": "Tests"}, "command": ["sh", "-c", f"test {question} = 42"]}
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "tests.yaml").write_text(yaml.safe_dump({"checks": [check]}))
    settings = load_settings(write_site(tmp_path, recovery_test={"checks": ["checks"]}))
    plan = bare_plan(server=f"{db_server.flavour} of a test")
    passes("tests", make_scene(tmp_path, settings, login(db_server), plan=plan))


ENDLESS = NUMBERS.replace("SELECT a.n FROM", "SELECT COUNT(DISTINCT a.n, b.n * RAND()) FROM").replace(
    "d g", "d g, d h, d i, d j, d k, d l, d m"
)


def test_a_query_that_takes_too_long(db_server: SandboxServer, tmp_path: Path) -> None:
    scene = asking(tmp_path, db_server, ENDLESS, 1, {}, timeout_seconds=0.5)
    assert "It could not be looked at: The server " in fails("question", scene)


def test_a_query_can_t_write(db_server: SandboxServer, tmp_path: Path) -> None:
    run(
        db_server,
        "CREATE DATABASE club",
        "USE club",
        "CREATE TABLE t (id INT)",
        "CREATE FUNCTION adds() RETURNS INT DETERMINISTIC MODIFIES SQL DATA "
        "BEGIN INSERT INTO club.t VALUES (1); RETURN 1; END",
    )
    said = fails("question", asking(tmp_path, db_server, "SELECT club.adds()", 1, {}))
    assert "READ ONLY transaction" in said
    assert run(db_server, "SELECT COUNT(*) FROM club.t") == [(0,)]
