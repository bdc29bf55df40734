"""What the demonstration prints: steps, lines and tables, in English or Korean."""

import json
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from demo_texts import TEXTS
from spoqplus_backup.messages import Language

LABEL_WIDTH = 14
INDENT = " " * 6
GREEN, RED, BOLD, PLAIN = "\033[32m", "\033[31m", "\033[1m", "\033[0m"


class Terminal:
    """Prints texts of the catalogue; coloured when a person looks on."""

    def __init__(self, language: Language, steps: int, out: TextIO = sys.stdout) -> None:
        self.language = language
        self._steps = steps
        self._step = 0
        self._out = out
        self._colours = out.isatty()

    def text(self, key: str, **fields: object) -> str:
        """A text of the catalogue."""
        return TEXTS[self.language][key].format(**fields)

    def headline(self, key: str, **fields: object) -> None:
        """A line of its own."""
        self._print(self._coloured(BOLD, self.text(key, **fields)))

    def step(self, key: str, **fields: object) -> None:
        """The headline of the next step."""
        self._step += 1
        self._print(f"\n[{self._step}/{self._steps}] " + self._coloured(BOLD, self.text(key, **fields)))

    def tell(self, key: str, **fields: object) -> None:
        """A line below a step; a text `label | words` stands in two columns."""
        label, separator, words = self.text(key, **fields).partition(" | ")
        if separator:
            self.line(words, label)
        else:
            self.line(label)

    def line(self, words: str, label: str | None = None) -> None:
        """A line below a step, with a label before it."""
        self._print(INDENT + (f"{padded(label, LABEL_WIDTH)} " if label is not None else "") + words)

    def block(self, text: str) -> None:
        """Somebody else's text, line by line."""
        for line in text.splitlines():
            self._print(f"{INDENT}│ {line}")

    def mark(self, good: bool) -> str:
        """A green tick or a red cross."""
        return self._coloured(GREEN, "✔") if good else self._coloured(RED, "✘")

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
        """A table; `right` are the columns with numbers."""
        widths = [max(width(row[column]) for row in (headings, *rows)) for column in range(len(headings))]

        def line(cells: Sequence[str]) -> str:
            shown = (padded(cell, widths[n], right=n in right) for n, cell in enumerate(cells))
            return INDENT + "  ".join(shown).rstrip()

        self._print(self._coloured(BOLD, line(headings)))
        for row in rows:
            self._print(line(row))

    def _coloured(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._colours else text

    def _print(self, line: str) -> None:
        print(line, file=self._out, flush=True)


def width(text: str) -> int:
    """Columns of a terminal: Korean takes two each, colours none."""
    for colour in (GREEN, RED, BOLD, PLAIN):
        text = text.replace(colour, "")
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def padded(text: str, columns: int, *, right: bool = False) -> str:
    """A text with blanks up to a width."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def shown(path: Path) -> str:
    """A path as a person would type it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def log_tail(log: str, lines: int = 25) -> str:
    """The end of a task's log as Airflow's API gives it, for people: events and errors without their JSON."""
    shown: list[str] = []
    for line in log.splitlines():
        if "::group::" in line or "::endgroup::" in line:  # marks for the UI
            continue
        try:
            record = json.loads(line)
        except ValueError:
            shown.append(line)
            continue
        shown.append(f"{str(record.get('level', '')).upper():8}{record.get('event', line)}")
        shown += [
            f"        {error.get('exc_type')}: {error.get('exc_value')}" for error in record.get("error_detail") or ()
        ]
    return "\n".join(shown[-lines:])
