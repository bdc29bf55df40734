"""Names of files in archives: bytes below a root, `/` between their steps. Hostile until they are checked.

Only the one spelling that GNU tar writes for `tar -C / path` is let through, so that two programs can't read a name
differently: no leading or doubled `/`, no `.` or `..` step, no NUL.
"""

import fnmatch
import re
from collections.abc import Sequence

from spoqplus_backup.core.errors import IntegrityError, SettingsError

_BAD_STEPS = frozenset({b"", b".", b".."})
MOST_SHOWN = 200


def shown(name: bytes) -> str:
    """A name as people can read it, on one line."""
    readable = name.decode("utf-8", "backslashreplace")
    if len(readable) > MOST_SHOWN:
        readable = f"{readable[:MOST_SHOWN]}..."
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in readable
    )


def refused(where: str, name: bytes, why: str) -> IntegrityError:
    """The error for a member that would do harm; `where` names the archive."""
    return IntegrityError(
        f"{where} holds '{shown(name)}', {why}: nothing of it is restored. Restore another set, and find out who made "
        "this one."
    )


def name_fault(name: bytes) -> str | None:
    """What is wrong with a name; None when it stays below the root in every reading."""
    if name.startswith(b"/"):
        return "an absolute name"
    if b"\0" in name:
        return "a name with a zero byte"
    steps = name.split(b"/")
    if b".." in steps:
        return "a name that leads out of the root by .."
    if not _BAD_STEPS.isdisjoint(steps):
        return "a name that is not in its plain form"
    return None


def check_name(where: str, name: bytes) -> None:
    """Refuse a name that may lead out of the root.

    Raises:
        IntegrityError: it does, or it is not in its plain form.
    """
    if fault := name_fault(name):
        raise refused(where, name, fault)


def parent_of(name: bytes) -> bytes:
    """The name of the folder that holds it; empty for what lies right below the root."""
    return name.rpartition(b"/")[0]


class Patterns:
    """Which names a person means, by globs; `*` and `?` go across folders.

    A pattern that begins with `/` is about whole names, another one begins at any folder. Who matches a folder gets
    all that is in it.

    Raises:
        SettingsError: a pattern can't be meant.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._compiled = [_compiled(pattern) for pattern in patterns]

    def match(self, name: bytes) -> bool:
        """Whether one of them means this name; without any, all names are meant."""
        text = name.decode("utf-8", "surrogateescape")
        return not self._compiled or any(pattern.match(text) for pattern in self._compiled)

    def that_match(self, name: bytes) -> list[str]:
        """The patterns that mean this name."""
        text = name.decode("utf-8", "surrogateescape")
        found = zip(self.patterns, self._compiled, strict=True)
        return [pattern for pattern, compiled in found if compiled.match(text)]


def _compiled(pattern: str) -> re.Pattern[str]:
    plain = pattern.strip("/")
    if not plain or "\0" in plain or ".." in plain.split("/"):
        raise SettingsError(f"The parameter paths has {pattern!r}: write a name or a pattern such as uploads/2026/*.")
    start = "" if pattern.startswith("/") else "(?:.*/)?"
    body = fnmatch.translate(plain).removesuffix(r"\Z").removesuffix(r"\z")
    return re.compile(f"(?s:{start}){body}(?s:/.*)?\\Z")
