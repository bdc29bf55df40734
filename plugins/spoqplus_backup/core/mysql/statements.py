"""Reads statements as they stand in a binary log: of which kind one is, and which tables it is about.

Not a parser of SQL: it knows where the names stand in the statements that change definitions or rows, past quotes,
comments and options. Where it does not know a statement it says so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

StatementKind = Literal[
    "insert", "update", "delete", "drop", "truncate", "alter", "create", "rename", "account", "other"
]
Name = tuple[str, str]
Kind = Literal["insert", "update", "delete", "drop", "truncate", "alter", "ddl"]  # that a search takes
KINDS: tuple[Kind, ...] = get_args(Kind)

DEFINITIONS: frozenset[StatementKind] = frozenset({"drop", "truncate", "alter", "create", "rename"})

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--\s[^\n]*|\#[^\n]*|/\*M?!\d*|/\*(?!!|M!).*?(?:\*/|\Z)|\*/)
  | `(?P<backtick>(?:[^`]|``)*)`
  | "(?P<double>(?:[^"\\]|""|\\.)*)"
  | '(?P<text>(?:[^'\\]|''|\\.)*)'
  | (?P<word>[\w$]+)
  | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_TABLES = ("TABLE", "TABLES", "VIEW", "SEQUENCE")
_PROGRAMS = ("TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "PACKAGE", "LIBRARY")
_DATABASES = ("DATABASE", "SCHEMA")
_ACCOUNTS = ("USER", "ROLE")
_ELSEWHERE = ("SERVER", "TABLESPACE", "LOGFILE", "RESOURCE", "SPATIAL", "INSTANCE", "UNDO")
_OBJECTS = (*_TABLES, *_PROGRAMS, *_DATABASES, *_ACCOUNTS, "INDEX", *_ELSEWHERE)
_BEFORE_A_NAME = {"IF", "NOT", "EXISTS", "BODY", "INTO", "TABLE", "ONLY"}
_BEFORE_A_NAME |= {"LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "QUICK", "FROM"}
_CHANGES_NOTHING = {"FLUSH", "SAVEPOINT", "ROLLBACK", "SET", "OPTIMIZE", "ANALYZE", "REPAIR", "RELEASE", "XA", "COMMIT"}
_KINDS: dict[str, StatementKind] = {
    "DROP": "drop",
    "TRUNCATE": "truncate",
    "ALTER": "alter",
    "CREATE": "create",
    "RENAME": "rename",
    "INSERT": "insert",
    "REPLACE": "insert",
    "LOAD": "insert",
    "UPDATE": "update",
    "DELETE": "delete",
}


@dataclass(frozen=True)
class Statement:
    """What a statement does. `objects` are programs (triggers, routines, events) and tables' names that are theirs."""

    kind: StatementKind
    tables: tuple[Name, ...] = ()
    databases: tuple[str, ...] = ()
    """Those that are made, changed or dropped as a whole."""
    objects: tuple[Name, ...] = ()
    known: bool = True
    """Whether these are all that it changes."""
    made: tuple[Name, ...] = ()
    """Of `tables` and `objects` those that are there afterwards and were not before."""
    accounts: tuple[str, ...] = ()
    """Accounts that a statement about accounts names, as `'user'@'host'`."""
    makes_accounts: bool = False
    """Whether it is a CREATE USER or CREATE ROLE that fails when they are there."""


@dataclass(frozen=True)
class _Token:
    text: str
    quoted: bool

    def is_word(self, *words: str) -> bool:
        return not self.quoted and self.text.upper() in words


def parse(database: str, text: str) -> Statement:
    """Read a statement; `database` is the one that names without one are in."""
    tokens = _tokens(text)
    first = tokens[0].text.upper() if tokens and not tokens[0].quoted else ""
    if first in ("GRANT", "REVOKE") or (first == "SET" and any(token.is_word("PASSWORD", "ROLE") for token in tokens)):
        return Statement("account", accounts=_accounts(tokens))
    if first in _CHANGES_NOTHING:
        return Statement("other")
    kind = _KINDS.get(first)
    if kind is None:
        return Statement("other", known=False)
    reader = _Reader(tokens, database)
    if kind in ("insert", "update", "delete"):
        return Statement(kind, tuple(reader.row_tables(first)))
    if kind == "truncate":
        return Statement(kind, tuple(filter(None, [reader.name(1)])))
    return reader.definition(kind)


class _Reader:
    """Finds names in a statement's tokens."""

    def __init__(self, tokens: Sequence[_Token], database: str) -> None:
        self._tokens = tokens
        self._database = database
        self._end = 0

    def definition(self, kind: StatementKind) -> Statement:
        """DROP, ALTER, CREATE or RENAME."""
        at = next((at for at in range(1, len(self._tokens)) if self._tokens[at].is_word(*_OBJECTS)), None)
        if at is None:
            return Statement(kind, known=False)
        what = self._tokens[at].text.upper()
        if what in _ACCOUNTS:
            makes = kind == "create" and not any(token.is_word("REPLACE", "EXISTS") for token in self._tokens[: at + 4])
            return Statement("account", accounts=_accounts(self._tokens), makes_accounts=makes)
        if what in _DATABASES:
            name = self.name(at + 1)
            return Statement(kind, databases=(name[1],) if name else (self._database,))
        if what in _PROGRAMS:
            return self._program(kind, what, at)
        if what == "INDEX":
            on = self._word(at, "ON")
            found = self.name(on + 1) if on else None
            return Statement("alter", (found,) if found else (), known=found is not None)
        if what not in _TABLES:
            return Statement(kind, known=False)
        if any(token.is_word("TEMPORARY") for token in self._tokens[1:at]):
            return Statement("other")
        names = tuple(self._listed(kind, what, at + 1))
        made = {"create": names[:1], "rename": names[1::2], "alter": names[1:]}.get(kind, ())
        return Statement(kind, names, known=bool(names), made=made)

    def _program(self, kind: StatementKind, what: str, at: int) -> Statement:
        name = self.name(at + 1)
        on = self._word(at, "ON") if (what, kind) == ("TRIGGER", "create") else None
        table = self.name(on + 1) if on else None
        names = [name, self._renamed(at)] if kind == "alter" else [name]
        made = names[:1] if kind == "create" else names[1:]
        return Statement(
            kind,
            objects=tuple(filter(None, [*names, table])),
            known=name is not None,
            made=tuple(filter(None, made)),
        )

    def _listed(self, kind: StatementKind, what: str, at: int) -> list[Name]:
        found = [self.name(at)]
        if kind == "alter":
            found.append(self._renamed(self._end))
        elif kind in ("drop", "rename") and what in _TABLES:
            while self._end < len(self._tokens) and (
                self._tokens[self._end].is_word("TO") or self._tokens[self._end].text == ","
            ):
                found.append(self.name(self._end + 1))
        return [name for name in found if name is not None]

    def _renamed(self, at: int) -> Name | None:
        """What ALTER ... RENAME makes it."""
        rename = self._word(at, "RENAME")
        if rename is None or rename + 1 >= len(self._tokens):
            return None
        behind = self._tokens[rename + 1]
        if behind.is_word("COLUMN", "INDEX", "KEY", "CONSTRAINT"):
            return None
        return self.name(rename + 2 if behind.is_word("TO", "AS") else rename + 1)

    def row_tables(self, first: str) -> list[Name]:
        """The tables whose rows INSERT, REPLACE, LOAD, UPDATE or DELETE change, or that are joined with them."""
        if first in ("INSERT", "REPLACE"):
            found = [self.name(1)]
        elif first == "LOAD":
            into = self._word(1, "TABLE")
            found = [self.name(into + 1)] if into else []
        else:
            start = 1 if first == "UPDATE" else self._word(1, "FROM") or 1
            found = self._references(start)
        return [name for name in found if name is not None]

    def _references(self, at: int) -> list[Name | None]:
        """Table references up to SET or WHERE: what stands first, and behind a comma, JOIN or USING."""
        found = [self.name(at)]
        for place in range(at, len(self._tokens)):
            token = self._tokens[place]
            if token.is_word("SET", "WHERE"):
                break
            if token.is_word("JOIN", "USING", "STRAIGHT_JOIN") or (not token.quoted and token.text == ","):
                found.append(self.name(place + 1))
        return found

    def name(self, at: int) -> Name | None:
        """The (database, name) that stands at a token or behind its options; `_end` is then behind it."""
        tokens = self._tokens
        while at < len(tokens) and tokens[at].is_word(*_BEFORE_A_NAME):
            at += 1
        if at >= len(tokens) or not (tokens[at].quoted or re.match(r"[\w$]", tokens[at].text)):
            self._end = at
            return None
        if at + 2 < len(tokens) and tokens[at + 1].text == "." and not tokens[at + 1].quoted:
            self._end = at + 3
            return tokens[at].text, tokens[at + 2].text
        self._end = at + 1
        return self._database, tokens[at].text

    def _word(self, at: int, word: str) -> int | None:
        return next((place for place in range(at, len(self._tokens)) if self._tokens[place].is_word(word)), None)


def _accounts(tokens: Sequence[_Token]) -> tuple[str, ...]:
    """Every `user@host`; roles, which may be without a host, as `name` behind CREATE ROLE and DROP ROLE."""
    found = [
        f"{_literal(user.text)}@{_literal(host.text)}"
        for user, mark, host in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if mark.text == "@" and not mark.quoted
    ]
    if not found and len(tokens) > 1 and tokens[1].is_word("ROLE"):
        found = [_literal(token.text) for token in tokens[2:] if token.quoted]
    return tuple(found)


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _tokens(text: str) -> list[_Token]:
    found = []
    for match in _TOKEN.finditer(text):
        kind, value = match.lastgroup, match[match.lastgroup or 0]
        if kind == "backtick":
            found.append(_Token(value.replace("``", "`"), quoted=True))
        elif kind in ("double", "text"):
            mark = '"' if kind == "double" else "'"
            found.append(_Token(value.replace(mark * 2, mark), quoted=True))
        elif kind != "space":
            found.append(_Token(value, quoted=False))
    return found
