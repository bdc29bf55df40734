"""What GNU tar says on stderr while it archives: files that changed or vanished, which is reported and not fatal."""

import logging
import re

from spoqplus_backup.core.notice import Notice, notice

log = logging.getLogger(__name__)

NAMED = 10
LINE_BYTES = 16384

_CHANGED, _VANISHED = "changed", "vanished"
_KINDS = {
    _CHANGED: ("file changed as we read it", "File shrank by"),
    _VANISHED: ("File removed before we read it", "Cannot stat: No such file", "Cannot open: No such file"),
}
_EXPECTED = ("Exiting with failure status", "socket ignored")
_PROGRAM = re.compile(r"^\S*tar: ")
_DENIED = "Permission denied"


class Complaints:
    """Reads stderr as it comes; keeps the counts and the first names of each kind."""

    def __init__(self) -> None:
        self.denied = False
        self._rest = b""
        self._count = dict.fromkeys(_KINDS, 0)
        self._names: dict[str, list[str]] = {kind: [] for kind in _KINDS}
        self._others: list[str] = []

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest[-LINE_BYTES:]
        for line in lines:
            self._line(_PROGRAM.sub("", line.decode("utf-8", "replace")))

    def _line(self, line: str) -> None:
        if any(words in line for words in _EXPECTED):
            return
        log.warning("tar: %s", line)
        self.denied |= _DENIED in line
        for kind, phrases in _KINDS.items():
            phrase = next((phrase for phrase in phrases if f": {phrase}" in line), None)
            if phrase is not None:
                self._count[kind] += 1
                if len(self._names[kind]) < NAMED:
                    self._names[kind].append(line.partition(f": {phrase}")[0])
                return
        if len(self._others) < NAMED:
            self._others.append(line)

    def notices(self, component: str) -> list[Notice]:
        """A sentence for each kind of complaint."""
        found = []
        if count := self._count[_CHANGED]:
            sentence = "{component}: {count} files changed while they were read: {names}."
            found.append(
                notice("files.changed", sentence, component=component, count=count, names=self._named(_CHANGED))
            )
        if count := self._count[_VANISHED]:
            sentence = "{component}: {count} files vanished before they were read: {names}."
            found.append(
                notice("files.vanished", sentence, component=component, count=count, names=self._named(_VANISHED))
            )
        sentence = "{component}: tar says: {line}"
        return found + [notice("files.tar", sentence, component=component, line=line) for line in self._others]

    def _named(self, kind: str) -> str:
        names = self._names[kind]
        more = self._count[kind] - len(names)
        return ", ".join(names) + (f" (+{more})" if more else "")
