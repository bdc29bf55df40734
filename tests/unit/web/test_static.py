"""The Backups page's files: its texts in both languages, its libraries as they were recorded, all of it packaged."""

import json
import re
from pathlib import Path

import pytest
from setuptools.dist import Distribution

import vendor

PROJECT = Path(vendor.PROJECT)
STATIC = PROJECT / "plugins/spoqplus_backup/web/static"
OUR_SCRIPTS = sorted(path for path in STATIC.rglob("*.js") if "vendor" not in path.parts)
TEXT_KEY = re.compile(r"""\bt(?:\.has)?\(\s*["'`]([\w.]+)["'`]""")
COUNTED_KEY = re.compile(r"""\bt\.count\(\s*["'`]([\w.]+)["'`]""")
CHOSEN_KEYS = re.compile(r"""\bt(?:\.count)?\([^()]*\?\s*["']([\w.]+)["']\s*:\s*["']([\w.]+)["']""")
WORD_GROUP = re.compile(r"""\bt\.word\(\s*["'](\w+)["']""")
PATTERN_KEY = re.compile(r"""\bt(?:\.has)?\(\s*`([\w.]*\$\{[^`]*)`""")


def texts(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((STATIC / "i18n" / f"{language}.json").read_text())
    return found


def source() -> str:
    return "\n".join(path.read_text() for path in OUR_SCRIPTS)


def test_both_languages_have_the_same_texts_with_the_same_fields() -> None:
    english, korean = texts("en"), texts("ko")
    assert english.keys() == korean.keys()
    for key, text in english.items():
        assert set(re.findall(r"\{(\w+)\}", text)) >= set(re.findall(r"\{(\w+)\}", korean[key])), key
        assert text.strip(), key
        assert korean[key].strip(), key


def test_korean_is_korean() -> None:
    same = {key for key, text in texts("ko").items() if not re.search("[가-힣]", text)}
    assert same <= {"promise.none", "origin.gtid", "timeline.mark", "timeline.until", "hold.by", "pager.range"}


def test_every_text_that_the_page_asks_for_is_there() -> None:
    known, script = texts("en").keys(), source()
    wanted = set(TEXT_KEY.findall(script)) | {key for pair in CHOSEN_KEYS.findall(script) for key in pair}
    counted = {f"{key}.{form}" for key in COUNTED_KEY.findall(script) for form in ("one", "other")}
    assert sorted((wanted | counted) - known) == []


def test_no_text_is_left_that_nobody_asks_for() -> None:
    script = source()
    groups = set(WORD_GROUP.findall(script))
    shapes = [
        re.compile(re.sub(r"\\\$\\\{.*?\\\}", r"[\\w-]+", re.escape(shape))) for shape in PATTERN_KEY.findall(script)
    ]
    unused = [
        key
        for key in texts("en")
        if f'"{key}"' not in script
        and key.partition(".")[0] not in groups
        and key.removesuffix(".one").removesuffix(".other") not in COUNTED_KEY.findall(script)
        and not any(shape.fullmatch(key) for shape in shapes)
    ]
    assert unused == []


@pytest.mark.parametrize("folder", vendor.FOLDERS, ids=lambda folder: folder.parent.name)
def test_a_library_is_what_was_recorded_and_has_its_licence(folder: Path) -> None:
    record = json.loads((folder / vendor.RECORD).read_text())
    recorded = {vendor.RECORD}
    for name, package in record.items():
        assert package["version"], name
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", package["integrity"]), name
        assert any("LICENSE" in file for file in package["files"]), name
        for file, known in package["files"].items():
            assert vendor.integrity_of((folder / file).read_bytes()) == known["sha512"], f"{file} was changed"
        recorded |= package["files"].keys()
    assert {path.name for path in folder.iterdir()} == recorded


def test_nothing_is_loaded_from_elsewhere_and_no_script_stands_in_the_page() -> None:
    page = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\bstyle=|\bon\w+=", page) == []
    assert re.findall(r"https?://", page + source()) == []
    for path in [*OUR_SCRIPTS, *(STATIC / "vendor").glob("*.js")]:
        for imported in re.findall(r"""(?:\bfrom|\bimport)\s*\(?["']([./\w-]+)["']""", path.read_text()):
            assert (path.parent / imported).is_file(), f"{path.name} imports {imported}"
    for address in re.findall(r'(?:src|href)="(static/[^"]+)"', page):
        assert (STATIC.parent / address).is_file() or address == "static/icon.svg", address


def test_a_script_of_a_package_is_made_fit_for_a_browser() -> None:
    script = 'import{h}from"preact";import x from "preact/hooks";\n//# sourceMappingURL=hooks.mjs.map'
    assert vendor.for_browser(script) == 'import{h}from"./preact.js";import x from"./hooks.js";\n'


def test_an_installed_package_has_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    distribution = Distribution()
    distribution.parse_config_files(["pyproject.toml"])
    distribution.include_package_data = False  # else it asks git what there is
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    packed = {
        Path(folder, file).resolve()
        for package, folder, _, files in build.data_files
        if package == "spoqplus_backup.web"
        for file in files
    }
    assert {path for path in STATIC.rglob("*") if path.is_file()} <= packed
