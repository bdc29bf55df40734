"""Scheduled events in statements: one that would run is made so that it does not, and can be told from others.

The status is that of an event which a replica has from its source, `DISABLE ON SLAVE`: both vendors know it, the
scheduler leaves it alone, and an event that somebody disabled for good has another one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

HELD = "DISABLE ON SLAVE"

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--\s[^\n]*|\#[^\n]*|/\*M?!\d*|/\*(?!!|M!).*?(?:\*/|\Z)|\*/)
  | (?P<quoted>`(?:[^`]|``)*`|"(?:[^"\\]|""|\\.)*"|'(?:[^'\\]|''|\\.)*')
  | (?P<word>[\w$]+)
  | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OBJECTS = {"TABLE", "VIEW", "SEQUENCE", "TRIGGER", "PROCEDURE", "FUNCTION", "PACKAGE", "LIBRARY", "DATABASE", "SCHEMA"}
_OBJECTS |= {"USER", "ROLE", "INDEX", "SERVER", "TABLESPACE", "LOGFILE", "RESOURCE", "SPATIAL", "INSTANCE", "UNDO"}

_QUOTED = rb"(?:`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\")"
# as SHOW CREATE EVENT writes it, with and without what mysqldump puts around it
_DUMPED = re.compile(
    rb"^(?:/\*!50106 CREATE\*/ (?:/\*!50117 DEFINER=[^\n]*?\*/ )?/\*!50106 |CREATE (?:DEFINER=[^\n]*? )?)EVENT "
    rb"(?P<name>"
    + _QUOTED
    + rb") ON SCHEDULE (?:AT|EVERY) [^\n]*?ON COMPLETION (?:NOT )?PRESERVE (?P<status>ENABLE)\b",
    re.MULTILINE,
)


@dataclass(frozen=True)
class _Token:
    start: int
    end: int
    text: str
    """In capitals where it is a word."""
    plain: bool


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "space":
            plain = match.lastgroup == "word"
            yield _Token(match.start(), match.end(), match[0].upper() if plain else match[0], plain)


def hold(statement: str) -> str:
    """A CREATE or ALTER EVENT that would enable its event, so that it does not; any other statement as it is."""
    tokens = list(_tokens(statement))
    at = _event(tokens)
    if at is None:
        return statement
    depth, is_new = 0, tokens[0].text == "CREATE"
    for token in tokens[_behind_name(tokens, at + 1) :]:
        depth += (token.text == "(") - (token.text == ")")
        if depth or not token.plain:
            continue
        if token.text == "ENABLE":
            return statement[: token.start] + HELD + statement[token.end :]
        if token.text == "DISABLE":
            return statement
        if token.text in ("COMMENT", "DO"):  # behind where a status stands
            return f"{statement[: token.start]}{HELD} {statement[token.start :]}" if is_new else statement
    return statement


def _event(tokens: list[_Token]) -> int | None:
    """Where the word EVENT stands in a statement that makes or changes one."""
    if not tokens or tokens[0].text not in ("CREATE", "ALTER"):
        return None
    for at, token in enumerate(tokens[1:], 1):
        if not token.plain or tokens[at - 1].text in ("=", "@"):  # the name of an account
            continue
        if token.text == "EVENT":
            return at
        if token.text in _OBJECTS:
            return None
    return None


def _behind_name(tokens: list[_Token], at: int) -> int:
    while at < len(tokens) and tokens[at].plain and tokens[at].text in ("IF", "NOT", "EXISTS"):
        at += 1
    at += 1
    return at + 2 if at < len(tokens) and tokens[at].text == "." else at


def hold_dumped(content: bytes) -> tuple[bytes, list[str]]:
    """A dump's definitions of events with those held that would run, and these ones' names."""
    names: list[str] = []

    def held(match: re.Match[bytes]) -> bytes:
        quote = match["name"][:1]
        names.append(match["name"][1:-1].replace(quote * 2, quote).decode("utf-8", "replace"))
        return match[0][: match.start("status") - match.start()] + HELD.encode()

    return _DUMPED.sub(held, content), names
