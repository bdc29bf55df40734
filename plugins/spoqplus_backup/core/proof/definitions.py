"""The checks of a recovery test: those that are built in, and those that YAML files define.

A file has a list of checks; each has a `name`, a `title` in both languages, and one of `sql`, `http` and `command`.
`include/checks/` shows all of it. DAG files read this, so nothing heavy is imported.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.run import file_names
from spoqplus_backup.core.setting_types import FilePath, Text
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.yaml_file import complaint, read_yaml

SHIPPED = Path(__file__).parents[4] / "include" / "checks"
MOST_ROWS = 10_000  # that a query may answer

_SETTING = "`recovery_test.checks`"
_EXAMPLE = "include/checks/payments.yaml"
_QUOTED = re.compile(
    r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`|--(?:\s[^\n]*)?$|\#[^\n]*|/\*.*?\*/""",
    re.DOTALL | re.MULTILINE,
)
_SELECT = re.compile(r"[\s(]*(SELECT|WITH)\b", re.IGNORECASE)
_CHANGES = re.compile(r"\b(UPDATE|DELETE|INTO|FOR\s+SHARE|LOCK)\b", re.IGNORECASE)
_COUNTS = ("rows", "at_least", "at_most")
_FACTS = ("empty", "same_as_production")


class Title(Model):
    """What a check is called, in both languages."""

    ko: Text
    en: Text


def _expectation(value: object) -> object:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool) and _is_plain(value):
        return {"kind": "value", "value": value}
    if isinstance(value, Mapping) and len(value) == 1:
        (kind, wanted), *_ = value.items()
        is_count = isinstance(wanted, int) and not isinstance(wanted, bool) and 0 <= wanted <= MOST_ROWS
        if (kind in _COUNTS and is_count) or (kind in _FACTS and wanted is True):
            return {"kind": kind, "value": wanted if kind in _COUNTS else 0}
    raise ValueError(
        "is no expectation: write a number or a text (the first column of the first row), or one of {rows: 3}, "
        f"{{at_least: 1}}, {{at_most: 1}} (up to {MOST_ROWS}), {{empty: true}}, {{same_as_production: true}}"
    )


def _is_plain(value: float | str) -> bool:
    return isinstance(value, str) or math.isfinite(value)


class Expectation(Model):
    """What a query has to answer: a `value`, or a number of rows, or what production answered."""

    kind: Literal["value", "rows", "at_least", "at_most", "empty", "same_as_production"]
    value: int | float | str


class Definition(Model):
    """What every check says. `needs_real_data`: it runs before personal data is masked."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: Title
    needs_real_data: bool = True

    @field_validator("name")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if value in BUILT_IN:
            raise ValueError(f"is {value}, a check that is built in: choose another")
        return value


class SqlCheck(Definition):
    """A query, one SELECT. The first column of its rows is what reports call them by; no other one is shown."""

    sql: Text
    expect: Annotated[Expectation, BeforeValidator(_expectation)]
    timeout_seconds: float = Field(default=600, gt=0)

    @field_validator("sql")
    @classmethod
    def _only_reads(cls, value: str) -> str:
        if any(found[0].startswith(("/*!", "/*M!")) for found in _QUOTED.finditer(value)):
            raise ValueError("has a comment that the server executes (/*! ... */): write what it says without it")
        plain = _QUOTED.sub(" ", value).rstrip().removesuffix(";")
        if not _SELECT.match(plain) or ";" in plain:
            raise ValueError("is not one single SELECT: a check asks one question, write it as a SELECT")
        if changes := _CHANGES.search(plain):
            raise ValueError(f"has {changes[0].upper()}, which more than reads: a check changes and locks nothing")
        return value

    @property
    def asks_production(self) -> bool:
        """Whether production has to answer it, too."""
        return self.expect.kind == "same_as_production"


class HttpRequest(Model):
    """A page of a test application, and what it has to answer; redirects are not followed."""

    url: str
    status: int = Field(default=200, ge=100, le=599)
    contains: Text | None = None

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("is no address: write http://host/path")
        if url.username or url.password:
            raise ValueError("holds a user or password: ask a page that needs none")
        return value


class HttpCheck(Definition):
    """A page that has to answer."""

    http: HttpRequest
    timeout_seconds: float = Field(default=30, gt=0)


class CommandCheck(Definition):
    """A program, started without a shell in `cwd` (relative to the file; its folder by default).

    It gets the sandbox in its environment: `SPOQPLUS_SANDBOX_DEFAULTS` is an option file for the mysql programs,
    `SPOQPLUS_SANDBOX_SOCKET` the server's socket, `SPOQPLUS_FILES_ROOT` the folder that restored files lie below.
    """

    command: tuple[Text, ...] = Field(min_length=1)
    cwd: FilePath = Field(default=Path(), validate_default=True)
    timeout_seconds: float = Field(default=1800, gt=0)


Check = SqlCheck | HttpCheck | CommandCheck

_KINDS: dict[str, type[SqlCheck | HttpCheck | CommandCheck]] = {
    "sql": SqlCheck,
    "http": HttpCheck,
    "command": CommandCheck,
}


@dataclass(frozen=True)
class CheckName:
    """A check that applies to a site: its name, its title by language, and whether masked data would not do."""

    name: str
    title: dict[str, str]
    needs_real_data: bool


BUILT_IN: dict[str, dict[str, str]] = {
    "records": {"ko": "모든 레코드가 운영과 같음", "en": "All records are production's"},
    "integrity": {"ko": "데이터베이스 무결성", "en": "Integrity of the database"},
    "uploads": {"ko": "업로드 파일을 읽을 수 있음", "en": "Uploads are readable"},
    "faces": {"ko": "얼굴 인식 데이터", "en": "Face recognition data"},
    "keys": {"ko": "복호화 키", "en": "Private keys"},
}


def check_names(settings: Settings) -> list[CheckName]:
    """The checks of a site, in the order in which they run: built-in ones, then those of its files.

    Raises:
        SettingsError: a file of checks is wrong.
    """
    test = settings.recovery_test
    without = {"uploads": test.uploads not in file_names(settings), "faces": test.faces is None}
    names = [CheckName(name, title, True) for name, title in BUILT_IN.items() if not without.get(name)]
    return names + [
        CheckName(check.name, check.title.model_dump(), check.needs_real_data) for check in load_checks(settings)
    ]


def load_checks(settings: Settings) -> tuple[Check, ...]:
    """The checks of the site's files, folder by folder, in the order of the files' names.

    Raises:
        SettingsError: one is wrong: file, check, field, remedy.
    """
    return checks_in(settings.recovery_test.checks or (SHIPPED,), _SETTING)


def checks_in(folders: Sequence[Path], setting: str) -> tuple[Check, ...]:
    """The checks of the files in some folders, in the order of the files' names.

    Args:
        folders: where they are.
        setting: what names the folders, for errors.

    Raises:
        SettingsError: one is wrong: file, check, field, remedy.
    """
    found: dict[str, Path] = {}
    checks: list[Check] = []
    for folder in folders:
        for path in _files(folder, setting):
            for check in read_checks(path, setting):
                if check.name in found:
                    raise SettingsError(
                        f"{path}: the check {check.name}: `name` stands in {found[check.name]} too: rename one of the "
                        "two."
                    )
                found[check.name] = path
                checks.append(check)
    return tuple(checks)


def _files(folder: Path, setting: str) -> Sequence[Path]:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError as error:
        raise SettingsError(
            f"{folder} can't be listed ({error.strerror}): correct {setting}, which names folders of checks."
        ) from error
    if not files:
        raise SettingsError(f"{folder} holds no *.yaml file: put one there, as {_EXAMPLE}, or correct {setting}.")
    return files


def read_checks(path: Path, setting: str = _SETTING) -> Iterator[Check]:
    """The checks of one file.

    Raises:
        SettingsError: the file or a check is wrong.
    """
    content = read_yaml(path, setting, _EXAMPLE)
    if unknown := sorted(map(str, content.keys() - {"checks"})):
        raise SettingsError(f"{path}: `{unknown[0]}` is an unknown field: a file has only `checks`, a list.")
    listed = content.get("checks")
    if not isinstance(listed, list) or not listed:
        raise SettingsError(f"{path}: `checks` is no list: write each check as `- name: ...`, as in {_EXAMPLE}.")
    for number, item in enumerate(listed, 1):
        yield _check(path, number, item)


def _check(path: Path, number: int, item: Any) -> Check:
    where = f"{path}: check number {number}"
    if not isinstance(item, dict):
        raise SettingsError(f"{where} has no fields: write `name`, `title` and one of {', '.join(_KINDS)}.")
    if isinstance(item.get("name"), str):
        where = f"{path}: the check {item['name']}"
    kinds = [kind for kind in _KINDS if kind in item]
    if len(kinds) != 1:
        fault = f"has both `{kinds[0]}` and `{kinds[1]}`" if kinds else "asks nothing"
        raise SettingsError(f"{where} {fault}: write exactly one of {', '.join(f'`{kind}`' for kind in _KINDS)}.")
    model = _KINDS[kinds[0]]
    try:
        return model.model_validate(item, context={"folder": path.parent.absolute()})
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_input=False)
        more = f" ({len(others)} more after this one)" if others else ""
        raise SettingsError(f"{where}: {complaint(first, model)}{more}.") from None
