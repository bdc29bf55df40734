"""Where a stored program ends."""

import pytest

from spoqplus_backup.core.mysql.delimited import count_programs, is_closed


def program(body: str, delimiter: str = ";;") -> bytes:
    return f"DELIMITER {delimiter}\n{body} {delimiter}\nDELIMITER ;\n".encode()


@pytest.mark.parametrize(
    "body",
    [
        "CREATE PROCEDURE p() SELECT 1",
        "CREATE PROCEDURE p() SELECT 'it''s', \"a\\\"b\", `x``y`, 'a\\'b'",
        "CREATE PROCEDURE p() BEGIN -- it's\n SELECT 1; # \"\n /* ' */ END",
        "/*!50003 CREATE*/ /*!50003 TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET @a = 1 */",
        "CREATE LIBRARY l LANGUAGE JAVASCRIPT AS $$ // it's\n$$",
        "CREATE LIBRARY l LANGUAGE JAVASCRIPT AS $a$ $$ ' $a$",
        "SELECT a$$b, '$$'",
        "SELECT 1--1, 4/2, 5-'3'",
    ],
)
def test_whole_programs(body: str) -> None:
    assert is_closed(program(body))


@pytest.mark.parametrize(
    "body",
    ["SELECT '", 'SELECT "', "SELECT `", "/* it goes on", "SELECT 'a\\'", "AS $$ //"],
)
def test_an_open_quote_or_comment_goes_on(body: str) -> None:
    assert not is_closed(program(body))


def test_without_backslash_escapes_a_backslash_is_a_letter() -> None:
    text = program("SELECT 'C:\\'")
    assert is_closed(text, backslash_escapes=False)
    assert not is_closed(text)


def test_a_program_ends_with_its_own_delimiter() -> None:
    assert is_closed(program("SELECT 1 //", "$$"))
    assert not is_closed(b"DELIMITER ;;\nSELECT 1 //\nDELIMITER ;\n")
    assert not is_closed(b"DELIMITER ;;\nSELECT 1 ;;\n")


def test_events_come_several_in_one_go() -> None:
    one = "/*!50106 CREATE*/ /*!50106 EVENT e ON SCHEDULE EVERY 1 DAY DO SET @a = '/*!50106 CREATE*/' */ ;;\n"
    assert count_programs(f"DELIMITER ;;\n{one}DELIMITER ;;\n{one}DELIMITER ;\n".encode()) == 2
    assert count_programs(program("CREATE PROCEDURE p() SELECT 1")) == 1
