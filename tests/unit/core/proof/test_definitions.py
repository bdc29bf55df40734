"""Files of checks: what they may say, and that a wrong one is one sentence with file, check, field and remedy."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.proof.definitions import (
    SHIPPED,
    CommandCheck,
    SqlCheck,
    check_names,
    load_checks,
    read_checks,
)
from spoqplus_backup.core.settings import Settings, load_settings
from support.servers import PROJECT
from support.site_file import write_site

TITLE = {"ko": "점검", "en": "A check"}


def a_check(**fields: Any) -> dict[str, Any]:
    """A good one; a field that is None is left out."""
    content = {"name": "mine", "title": TITLE, "sql": "SELECT 1", "expect": 1} | fields
    return {name: value for name, value in content.items() if value is not None}


def write(path: Path, *checks: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"checks": list(checks)}, allow_unicode=True))
    return path


def complaint(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        list(read_checks(path))
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith(".")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def site(directory: Path, **recovery_test: Any) -> Settings:
    return load_settings(write_site(directory, recovery_test=recovery_test))


def test_the_shipped_checks_are_those_of_the_strategy(tmp_path: Path) -> None:
    names = [check.name for check in load_checks(site(tmp_path))]
    assert len(names) == 10
    assert {"payments_have_members", "payments_per_month", "sessions_have_members", "password_hashes"} <= set(names)
    assert {path.suffix for path in SHIPPED.iterdir()} == {".yaml"}


def test_a_site_has_the_built_in_checks_that_apply_and_its_own(tmp_path: Path) -> None:
    write(tmp_path / "own" / "b.yaml", a_check(name="second", needs_real_data=False))
    write(tmp_path / "own" / "a.yaml", a_check(name="first"))
    found = check_names(site(tmp_path, checks=["own"]))
    assert [(check.name, check.needs_real_data) for check in found] == [
        ("records", True), ("integrity", True), ("faces", True), ("keys", True), ("first", True), ("second", False)
    ]  # fmt: skip
    assert all(check.title.keys() == {"ko", "en"} for check in found)

    others = load_settings(
        write_site(tmp_path, files=[{"name": "uploads", "paths": ["/srv/uploads"]}], recovery_test={"faces": None})
    )
    assert [check.name for check in check_names(others)][:4] == ["records", "integrity", "uploads", "keys"]


def test_a_command_begins_where_its_file_lies(tmp_path: Path) -> None:
    (here, there) = read_checks(
        write(
            tmp_path / "checks.yaml",
            a_check(name="here", sql=None, expect=None, command=["./run.sh"]),
            a_check(name="there", sql=None, expect=None, command=["./run.sh"], cwd="app"),
        )
    )
    assert isinstance(here, CommandCheck)
    assert isinstance(there, CommandCheck)
    assert (here.cwd, there.cwd) == (tmp_path, tmp_path / "app")


@pytest.mark.parametrize(
    ("written", "kind", "value"),
    [
        (0, "value", 0),
        (12.5, "value", 12.5),
        ("yes", "value", "yes"),
        ({"rows": 3}, "rows", 3),
        ({"at_least": 1}, "at_least", 1),
        ({"at_most": 0}, "at_most", 0),
        ({"empty": True}, "empty", 0),
        ({"same_as_production": True}, "same_as_production", 0),
    ],
)
def test_expectations(tmp_path: Path, written: Any, kind: str, value: Any) -> None:
    (check,) = read_checks(write(tmp_path / "checks.yaml", a_check(expect=written)))
    assert isinstance(check, SqlCheck)
    assert (check.expect.kind, check.expect.value) == (kind, value)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1;",
        "  (SELECT 1) UNION (SELECT 2)",
        "-- SELECT nothing; DELETE\nSELECT 1 # INSERT INTO;\n",
        "SELECT 'DELETE; INTO', \"UPDATE\", `lock` FROM t /* ; */ WHERE a = 'it''s; \\' INTO'",
        "WITH a AS (SELECT 1 AS updated_at) SELECT * FROM a",
    ],
)
def test_queries_that_only_read(tmp_path: Path, sql: str) -> None:
    (check,) = read_checks(write(tmp_path / "checks.yaml", a_check(sql=sql)))
    assert isinstance(check, SqlCheck)
    assert check.sql == sql


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("DELETE FROM t", "`sql` is not one single SELECT"),
        ("SELECT 1; DELETE FROM t", "`sql` is not one single SELECT"),
        ("SELECT 1;;", "`sql` is not one single SELECT"),
        ("", "`sql` is wrong"),
        ("SELECT 'a' INTO OUTFILE '/tmp/x'", "`sql` has INTO, which more than reads"),
        ("SELECT a FROM t FOR UPDATE", "`sql` has UPDATE"),
        ("SELECT a FROM t FOR  SHARE", "`sql` has FOR  SHARE"),
        ("SELECT a FROM t LOCK IN SHARE MODE", "`sql` has LOCK"),
        ("WITH a AS (SELECT 1) DELETE FROM t", "`sql` has DELETE"),
        ("SELECT 1 /*!99999 FOR UPDATE */", "`sql` has a comment that the server executes"),
        ("SELECT 1 /*M!99999 FOR UPDATE */", "`sql` has a comment that the server executes"),
    ],
)
def test_queries_that_do_more_are_refused(tmp_path: Path, sql: str, fault: str) -> None:
    assert complaint(write(tmp_path / "checks.yaml", a_check(sql=sql))).startswith(f"the check mine: {fault}")


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"expects": 3}, "the check mine: `expects` is an unknown field: write `expect`"),
        ({"title": None}, "the check mine: `title` is missing: add it"),
        ({"title": {"ko": "점검"}}, "the check mine: `title.en` is missing: add it"),
        ({"title": "A check"}, "the check mine: `title` is wrong"),
        ({"expect": None}, "the check mine: `expect` is missing: add it"),
        ({"expect": True}, "the check mine: `expect` is no expectation: write a number or a text"),
        ({"expect": float("nan")}, "the check mine: `expect` is no expectation"),
        ({"expect": {"rows": -1}}, "the check mine: `expect` is no expectation"),
        ({"expect": {"rows": 10_001}}, "the check mine: `expect` is no expectation"),
        ({"expect": {"empty": False}}, "the check mine: `expect` is no expectation"),
        ({"expect": {"rows": 1, "at_most": 2}}, "the check mine: `expect` is no expectation"),
        ({"expect": [1]}, "the check mine: `expect` is no expectation"),
        ({"command": ["true"]}, "the check mine has both `sql` and `command`: write exactly one of"),
        ({"sql": None}, "the check mine asks nothing: write exactly one of `sql`, `http`, `command`"),
        ({"name": None}, "check number 1: `name` is missing: add it"),
        ({"name": "My check"}, "the check My check: `name` is wrong: string should match pattern"),
        ({"name": "records"}, "the check records: `name` is records, a check that is built in: choose another"),
        ({"timeout_seconds": 0}, "the check mine: `timeout_seconds` is wrong: input should be greater than 0"),
        ({"titel": TITLE, "title": None}, "the check mine: `title` is missing: add it (1 more after this one)"),
    ],
)
def test_a_wrong_query(tmp_path: Path, fields: dict[str, Any], fault: str) -> None:
    assert complaint(write(tmp_path / "checks.yaml", a_check(**fields))).startswith(fault)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ({"http": {"url": "ftp://club/x"}}, "`http.url` is no address: write http://host/path"),
        ({"http": {"url": "http:///x"}}, "`http.url` is no address"),
        ({"http": {"url": "http://me:secret@club/x"}}, "`http.url` holds a user or password"),
        ({"http": {"url": "http://club/x", "statos": 200}}, "`http.statos` is an unknown field: write `status`"),
        ({"http": {"url": "http://club/x", "status": 20}}, "`http.status` is wrong: input should be greater"),
        ({"http": {}}, "`http.url` is missing: add it"),
        ({"command": []}, "`command` is wrong: tuple should have at least 1 item"),
        ({"command": "run_tests.sh"}, "`command` is wrong: input should be a valid tuple"),
        ({"command": ["true"], "expect": 1}, "`expect` is an unknown field: remove it or use one of"),
    ],
)
def test_a_wrong_page_or_command(tmp_path: Path, kind: dict[str, Any], fault: str) -> None:
    check = {"name": "mine", "title": TITLE} | kind
    text = complaint(write(tmp_path / "checks.yaml", check))
    assert text.startswith(f"the check mine: {fault}")
    assert "secret" not in text


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("checks: [", "line 1 can't be read"),
        ("checks:\n  - name: a\n    name: b\n", "line 3 can't be read: the field name stands twice"),
        ("", "`checks` is no list: write each check as `- name: ...`"),
        ("checks: []", "`checks` is no list"),
        ("checks: {name: a}", "`checks` is no list"),
        ("checks: [1]", "check number 1 has no fields"),
        ("check: []", "`check` is an unknown field: a file has only `checks`, a list"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: str, fault: str) -> None:
    path = tmp_path / "checks.yaml"
    path.write_text(content)
    assert complaint(path).startswith(fault)


def test_a_name_that_two_files_have(tmp_path: Path) -> None:
    first, second = (write(tmp_path / "own" / f"{letter}.yaml", a_check()) for letter in "ab")
    with pytest.raises(SettingsError, match=f"^{second}: the check mine: `name` stands in {first} too: rename one"):
        check_names(site(tmp_path, checks=["own"]))


def test_a_folder_that_is_not_there_or_empty(tmp_path: Path) -> None:
    settings = site(tmp_path, checks=["own"])
    with pytest.raises(SettingsError, match=r"own can't be listed \(No such file.*`recovery_test\.checks`"):
        check_names(settings)
    (tmp_path / "own").mkdir()
    with pytest.raises(SettingsError, match=r"own holds no \*\.yaml file"):
        check_names(settings)


def test_reading_them_loads_nothing_heavy() -> None:
    heavy = "{'MySQLdb', 'PIL', 'cryptography', 'boto3', 'zstandard', 'sqlite3', 'urllib.request'}"
    code = (
        "import sys, spoqplus_backup.core.settings; before = set(sys.modules);"
        f"import spoqplus_backup.core.proof.definitions; print(sorted((set(sys.modules) - before) & {heavy}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        env={"PYTHONPATH": str(PROJECT / "plugins")},
    )
    assert done.stdout.strip() == "[]"
