"""Reads the texts of `include/messages/`: YAML files, each key with `ko:` and `en:` side by side.

They are read in full once per process, so that a wrong file is an import error of the DAGs and not a surprise at night.
A team's own words come from the folder that SPOQPLUS_BACKUP_MESSAGES names: files of the same form, of some keys.
"""

import difflib
import os
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

from spoqplus_backup.core.errors import SettingsError

Language = Literal["ko", "en"]

VARIABLE = "SPOQPLUS_BACKUP_MESSAGES"
FOLDER = Path(__file__).parent / "texts"  # a link to include/messages; a wheel holds the files
LANGUAGES: tuple[Language, ...] = ("ko", "en")
# What the core says by itself in English; here stands its Korean, and English only when a team wants other words.
OF_THE_CORE = ("notice.", "gap.reason.")
REMEDY = "write `key:` and below it `ko: ...` and `en: ...`, as in include/messages/list.yaml"

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where PyYAML has libyaml


@dataclass(frozen=True)
class Text:
    """A text in both languages; `en` is None where the core has the English words."""

    ko: str
    en: str | None

    def form(self, language: Language) -> str | None:
        """The words of a language."""
        return self.ko if language == "ko" else self.en


@cache
def texts() -> Mapping[str, Text]:
    """Every text by its key, in the team's own words where it has some.

    Raises:
        SettingsError: a file can't be read, or something in it is wrong.
    """
    shipped = read_texts(FOLDER.resolve())
    chosen = os.environ.get(VARIABLE)
    return shipped | own_texts(Path(chosen), shipped) if chosen else shipped


def own_texts(folder: Path, shipped: Mapping[str, Text]) -> dict[str, Text]:
    """A team's words for some of the texts that are shipped; they may leave places out, but not invent any.

    Raises:
        SettingsError: something in the folder is wrong.
    """
    own = read_texts(folder)
    for key, words in own.items():
        if key not in shipped:
            near = difflib.get_close_matches(key, shipped, n=1)
            raise SettingsError(
                f"{folder} ({VARIABLE}): there is no text `{key}`"
                + (f": write `{near[0]}`." if near else ": remove it, or take its name from include/messages.")
            )
        if unknown := places(words.ko) - places(shipped[key].ko):
            raise SettingsError(
                f"{folder} ({VARIABLE}): `{key}` has {_listed(unknown)}, which nothing fills: "
                f"it may have {_listed(places(shipped[key].ko))}."
            )
    return own


def read_texts(folder: Path) -> dict[str, Text]:
    """The texts of a folder's `*.yaml`.

    Raises:
        SettingsError: file, line and remedy of the first thing that is wrong.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise SettingsError(f"{folder} holds no *.yaml file: put the files of include/messages there.")
    found: dict[str, Text] = {}
    lines: dict[str, str] = {}
    for file in files:
        for key, value, place in _entries(file):
            if key in found:
                raise SettingsError(f"{place}: the key `{key}` stands in {lines[key]} too: remove one of the two.")
            found[key], lines[key] = _text(key, value, place), place
    return found


def places(words: str) -> frozenset[str]:
    """The names between a text's braces.

    Raises:
        ValueError: the braces don't match.
    """
    return frozenset(name for _, name, _, _ in string.Formatter().parse(words) if name is not None)


def _entries(file: Path) -> Iterator[tuple[str, yaml.Node, str]]:
    """Each key of a file, what stands below it, and where."""
    root = _root(file)
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError(f"{file} holds no texts: {REMEDY}.")
    for key, value in root.value:
        place = f"{file}: line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise SettingsError(f"{place} is no key: {REMEDY}.")
        yield key.value, value, place


def _root(file: Path) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(file.read_text("utf-8"), Loader=_Loader)
    except OSError as error:
        raise SettingsError(f"{file} can't be read ({error.strerror}): correct its permissions.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{file}: line {line} can't be read: {error.problem}: correct this line.") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is not YAML ({type(error).__name__}): correct it.") from error
    return node


def _text(key: str, node: yaml.Node, place: str) -> Text:
    if not isinstance(node, yaml.MappingNode):
        raise SettingsError(f"{place}: `{key}` has no languages: {REMEDY}.")
    forms: dict[str, str] = {}
    for name, value in node.value:
        if name.value not in LANGUAGES:
            raise SettingsError(f"{place}: `{key}` has `{name.value}`, no language: write `ko` or `en`.")
        if name.value in forms:
            raise SettingsError(f"{place}: `{key}` has `{name.value}` twice: remove one of the two.")
        if not isinstance(value, yaml.ScalarNode) or not value.value.strip():
            raise SettingsError(
                f"{place}: `{key}` has no text after `{name.value}:`: write one, in quotes if it begins with {{ or [."
            )
        forms[name.value] = value.value
    for language in LANGUAGES:
        if language not in forms and not (language == "en" and key.startswith(OF_THE_CORE)):
            raise SettingsError(f"{place}: `{key}` has no `{language}:`: add it.")
    filled = {language: _checked_places(key, words, place) for language, words in forms.items()}
    if len(set(filled.values())) > 1:
        listed = " but ".join(f"{_listed(names)} in `{language}`" for language, names in filled.items())
        raise SettingsError(f"{place}: `{key}` has {listed}: both languages fill the same places.")
    return Text(ko=forms["ko"], en=forms.get("en"))


def _checked_places(key: str, words: str, place: str) -> frozenset[str]:
    try:
        names = places(words)
    except ValueError as error:
        raise SettingsError(
            f"{place}: the braces of `{key}` don't match ({error}): write {{place}}, or {{{{ and }}}} for a brace."
        ) from error
    if wrong := [name for name in names if not name.isidentifier()]:
        raise SettingsError(f"{place}: `{key}` has {{{wrong[0]}}}, no name of a place: keep those it had.")
    return names


def _listed(names: frozenset[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names)) or "no place"
