"""The files of include/messages: a wrong one is one clear sentence, and they are there without the repository too."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.message_files import FOLDER, VARIABLE, own_texts, read_texts, texts

ROOT = Path(__file__).resolve().parents[2]


def test_both_languages_of_a_key(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a.b:\n  ko: 안녕 {name}\n  en: >-\n    Hello\n    {name}\n# nothing else\n")
    (tmp_path / "b.yaml").write_text("# empty\n")
    found = read_texts(tmp_path)
    assert (found["a.b"].form("ko"), found["a.b"].form("en")) == ("안녕 {name}", "Hello {name}")


def test_what_looks_like_another_type_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("yes:\n  ko: 1.0\n  en: no\n")
    assert read_texts(tmp_path)["yes"].en == "no"


def test_english_of_the_core_may_stay_with_the_core(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("notice.a:\n  ko: 가\ngap.reason.b:\n  ko: 나\n")
    assert read_texts(tmp_path)["notice.a"].en is None


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("a:\n  ko: 가", "line 1: `a` has no `en:`: add it"),
        ("a:\n  en: b", "line 1: `a` has no `ko:`: add it"),
        ("# a\na: b", "line 2: `a` has no languages: write"),
        ("- a", "holds no texts: write"),
        ("a:\n  ko: '{x} 가'\n  en: b", "line 1: `a` has {x} in `ko` but no place in `en`"),
        ("a:\n  ko: '{x'\n  en: b", "the braces of `a` don't match"),
        ("a:\n  ko: '{}'\n  en: '{}'", "`a` has {}, no name of a place"),
        ("a:\n  ko: '{x.__class__}'\n  en: '{x.__class__}'", "`a` has {x.__class__}, no name of a place"),
        ("a:\n  ko: {x} 가\n  en: b", "line 2 can't be read: "),
        ("a:\n  ko: {x}\n  en: b", "`a` has no text after `ko:`: write one, in quotes if it begins with"),
        ("a:\n  ko:\n  en: b", "`a` has no text after `ko:`"),
        ("a:\n  de: x", "`a` has `de`, no language: write `ko` or `en`"),
        ("a:\n  ko: x\n  ko: y\n  en: z", "`a` has `ko` twice"),
        ("a:\n  ko: x\n  en: y\na:\n  ko: x\n  en: y", "line 4: the key `a` stands in "),
        ("? [a]\n: b", "line 1 is no key"),
        ("a:\n  ko: 'x", "can't be read: "),
    ],
)
def test_says_what_is_wrong_and_where(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError) as raised:
        read_texts(tmp_path)
    assert str(file) in str(raised.value)
    assert complaint in str(raised.value)


def test_a_file_that_is_no_text_and_a_folder_without_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"holds no \*\.yaml file"):
        read_texts(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"a:\n  ko: \xff")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        read_texts(tmp_path)


def test_a_team_s_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ours.yaml").write_text("slack.backup.failed:\n  ko: 백업이 안 됐어요\n  en: No backup\n")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    found = texts.__wrapped__()
    assert found["slack.backup.failed"].en == "No backup"
    assert found["slack.backup.succeeded"].en == "✅ {site} backup complete"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("stage.dumb:\n  ko: 가\n  en: b", "there is no text `stage.dumb`: write `stage.dump`"),
        ("x:\n  ko: 가\n  en: b", "there is no text `x`: remove it"),
        ("stage.dump:\n  ko: '{size}'\n  en: '{size}'", "`stage.dump` has {size}, which nothing fills"),
    ],
)
def test_own_words_for_what_is_not_there(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "ours.yaml").write_text(content)
    with pytest.raises(SettingsError) as raised:
        own_texts(tmp_path, read_texts(FOLDER))
    assert complaint in str(raised.value)


def test_reading_all_of_them_holds_up_no_task() -> None:
    spent = []
    for _ in range(3):
        started = time.process_time()
        read_texts(FOLDER)
        spent.append(time.process_time() - started)
    assert min(spent) < 0.05


def test_a_wheel_holds_them(tmp_path: Path) -> None:
    source, built, installed = tmp_path / "source", tmp_path / "built", tmp_path / "installed"
    for name in ("plugins", "include/messages"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [Path(sys.executable).with_name("uv"), "build", "--wheel", "--no-build-isolation", "--offline", "-q"]
    subprocess.run([*build, "-o", built, source], check=True)
    shutil.unpack_archive(next(built.glob("*.whl")), installed, "zip")
    asked = "from spoqplus_backup.messages import text; print(text('en', 'stage.dump'))"
    answered = subprocess.run(
        [sys.executable, "-c", asked], env={"PYTHONPATH": str(installed)}, cwd=tmp_path, capture_output=True, check=True
    )
    assert answered.stdout.decode().strip() == "Dump"
