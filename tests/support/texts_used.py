"""Which texts the code asks for: read from its syntax trees and templates."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("plugins", "dags", "scripts")
WORDS = re.compile(r"""["']([A-Za-z0-9_.]+)["']""")
# A template asks for `view.t("key")` or `view.t("first part." ~ name)`.
ASKED = re.compile(r"""\.t\(\s*["']([a-z0-9_.]+)["'](\s*~)?""")
TAKE_A_LANGUAGE = ("text", "label")
DEPTH = 3


@dataclass(frozen=True)
class Asked:
    """A call for a text: patterns of which its key matches one; `fields` None: not known before it runs."""

    where: str
    patterns: tuple[str, ...]
    fields: frozenset[str] | None


@dataclass
class Uses:
    """Everything that could be a key or a part of one."""

    asked: list[Asked] = field(default_factory=list)
    words: set[str] = field(default_factory=set)
    patterns: set[re.Pattern[str]] = field(default_factory=set)

    def has(self, key: str, depth: int = DEPTH) -> bool:
        """Whether some code names a key, in one piece or put together from words that stand in the code."""
        if key in self.words:
            return True
        return depth > 0 and any(
            all(self.has(part, depth - 1) for part in found.groups())
            for pattern in self.patterns
            if (found := pattern.fullmatch(key))
        )


@cache
def uses() -> Uses:
    """Of the whole repository."""
    found = Uses()
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.py")):
            _read(path, ast.parse(path.read_text()), found)
        for path in sorted((ROOT / place).rglob("*.j2")):
            _read_template(path, found)
    return found


def _read(path: Path, tree: ast.Module, found: Uses) -> None:
    wrappers = _wrappers(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.words.add(node.value)
        elif isinstance(node, ast.JoinedStr) and _begins_like_a_key(node):
            found.patterns.add(re.compile(_pattern(node)))
        elif isinstance(node, ast.Call) and (name := _name(node.func)) in wrappers:
            place = 1 if name in TAKE_A_LANGUAGE else 0
            if len(node.args) > place:
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                found.asked += _asked(where, wrappers[name], node, node.args[place])


def _read_template(path: Path, found: Uses) -> None:
    content = path.read_text()
    found.words |= set(WORDS.findall(content))
    for key, joined in ASKED.findall(content):
        pattern = re.escape(f"proof.{key}") + ("(.+)" if joined else "")
        found.patterns.add(re.compile(pattern))
        found.asked.append(Asked(path.name, (pattern,), None))


def _asked(where: str, prefixes: Iterable[str], call: ast.Call, key: ast.expr) -> Iterator[Asked]:
    open_ended = any(word.arg is None for word in call.keywords)
    fields = None if open_ended else frozenset(word.arg for word in call.keywords if word.arg is not None)
    if isinstance(key, ast.IfExp):
        for branch in (key.body, key.orelse):
            yield from _asked(where, prefixes, call, branch)
    elif isinstance(key, ast.Constant | ast.JoinedStr):
        pattern = re.escape(str(key.value)) if isinstance(key, ast.Constant) else _pattern(key)
        yield Asked(where, tuple(re.escape(prefix) + pattern for prefix in prefixes), fields)


def _wrappers(tree: ast.Module) -> dict[str, list[str]]:
    """Functions that take a key, with what they put before it: `def say(key): return text(language, f"plan.{key}")`."""
    found: dict[str, list[str]] = {name: [""] for name in TAKE_A_LANGUAGE}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            own = [name.arg for name in function.args.args if name.arg != "self"][:1]
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and _name(call.func) == "text" and len(call.args) > 1:
                    prefix = _prefix(call.args[1], own)
                    if prefix is not None and function.name not in TAKE_A_LANGUAGE:
                        found.setdefault(function.name, []).append(prefix)
    return found


def _prefix(key: ast.expr, parameters: list[str]) -> str | None:
    """What stands before the parameter in `f"plan.{key}"`."""
    if not isinstance(key, ast.JoinedStr) or len(key.values) != 2:
        return None
    start, end = key.values
    inner = end.value if isinstance(end, ast.FormattedValue) else None
    if isinstance(start, ast.Constant) and isinstance(inner, ast.Name) and [inner.id] == parameters:
        return str(start.value)
    return None


def _begins_like_a_key(node: ast.JoinedStr) -> bool:
    first, second = (*node.values, None)[:2]
    if isinstance(first, ast.Constant):
        return re.fullmatch(r"[a-z_]+(\..*)?", str(first.value)) is not None
    return isinstance(second, ast.Constant) and str(second.value).startswith(".")


def _pattern(node: ast.JoinedStr) -> str:
    """What an f-string may become."""
    return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else "(.+)" for part in node.values)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
