"""Tells whether the text of a stored program ends outside of quotes and comments.

mysqldump writes triggers, routines and events between `DELIMITER ;;` and `DELIMITER ;`. A body may hold that second
line itself, in a string or a comment; only a lexer can tell.
"""

import re

_OPENING = re.compile(rb"\ADELIMITER (\S+)\n")
_EVENT = b"/*!50106 CREATE*/"
_CLOSING = b"\nDELIMITER ;\n"


def _lexer(single: str, double: str) -> re.Pattern[bytes]:
    return re.compile(
        rf"""
          '{single}(?P<single>'|\Z)
        | "{double}(?P<double>"|\Z)
        | `[^`]*(?P<name>`|\Z)
        | /\*(?![!M+]).*?(?P<comment>\*/|\Z)
        | (?<![\w$])\$(?P<tag>\w*)\$.*?(?P<dollar>\$(?P=tag)\$|\Z)
        | (?:\#|--(?=\s))[^\n]*
        | [^'"`/\#$-]+
        | .
        """.encode(),
        re.VERBOSE | re.DOTALL,
    )


_ESCAPES = _lexer(r"[^'\\]*(?:\\.[^'\\]*)*", r'[^"\\]*(?:\\.[^"\\]*)*')
_NO_ESCAPES = _lexer("[^']*", '[^"]*')


def is_closed(text: bytes | bytearray, *, backslash_escapes: bool = True) -> bool:
    """Whether `text` (from its `DELIMITER x` line to a `DELIMITER ;` line) is a whole stored program.

    Args:
        text: what was read so far, both lines included.
        backslash_escapes: False when the program was made under the SQL mode NO_BACKSLASH_ESCAPES.
    """
    opening = _OPENING.match(text)
    if opening is None or not text.endswith(_CLOSING):
        return False
    body = text[opening.end() : -len(_CLOSING)].rstrip()
    if not body.endswith(opening[1]):
        return False
    lexer = _ESCAPES if backslash_escapes else _NO_ESCAPES
    tokens = lexer.finditer(body[: -len(opening[1])])
    return all(token.lastgroup is None or token[token.lastgroup] for token in tokens)


def count_programs(text: bytes | bytearray, *, backslash_escapes: bool = True) -> int:
    """How many programs a whole text holds: triggers and routines come one by one, events all in one go."""
    lexer = _ESCAPES if backslash_escapes else _NO_ESCAPES
    code = b"".join(token[0] for token in lexer.finditer(text) if token.lastgroup is None)
    return max(1, code.count(_EVENT))
