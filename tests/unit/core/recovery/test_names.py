"""What a person means by a pattern, and which names stay below a root."""

import pytest

from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.recovery.files.names import Patterns, name_fault, shown

UPLOADS = b"var/www/html/public/uploads"


@pytest.mark.parametrize(
    ("pattern", "name", "meant"),
    [
        ("logo.png", UPLOADS + b"/2026/logo.png", True),
        ("logo.png", UPLOADS + b"/2026/my-logo.png", False),
        ("uploads/2026", UPLOADS + b"/2026", True),
        ("uploads/2026", UPLOADS + b"/2026/01/a.png", True),
        ("uploads/2026", UPLOADS + b"/20261", False),
        ("2026/*.png", UPLOADS + b"/2026/01/a.png", True),
        ("2026/??", UPLOADS + b"/2026/01/a.png", True),
        ("/var/www/html/public/uploads/a", UPLOADS + b"/a", True),
        ("/uploads/a", UPLOADS + b"/a", False),
        ("/var/www/*/a", UPLOADS + b"/b/a", True),
        ("한글*", UPLOADS + "/한글\n이름".encode(), True),
        ("[ab].txt", UPLOADS + b"/a.txt", True),
        ("[ab].txt", UPLOADS + b"/c.txt", False),
        ("a\\b", UPLOADS + b"/a\\b", True),
        ("*.bin", UPLOADS + b"/\xff\xfe.bin", True),
        ("A.txt", UPLOADS + b"/a.txt", False),
    ],
)
def test_patterns(pattern: str, name: bytes, meant: bool) -> None:
    assert Patterns([pattern]).match(name) is meant
    assert bool(Patterns([pattern, "nothing-else"]).that_match(name)) is meant


def test_without_a_pattern_everything_is_meant() -> None:
    assert Patterns([]).match(b"anything")


@pytest.mark.parametrize("pattern", ["", "/", "//", "../etc", "uploads/../../etc", "a\0b"])
def test_a_pattern_that_can_not_be_meant_is_refused(pattern: str) -> None:
    with pytest.raises(SettingsError, match="The parameter paths has"):
        Patterns([pattern])


@pytest.mark.parametrize("name", [b"a", b"a/b", b"...", b"a/..b", "한글".encode(), b"\xff\n\\ *"])
def test_good_names(name: bytes) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize("name", [b"", b"/a", b"a/", b"a//b", b".", b"./a", b"a/.", b"..", b"../a", b"a/../b", b"a\0"])
def test_bad_names(name: bytes) -> None:
    assert name_fault(name) is not None


def test_a_name_is_shown_on_one_line() -> None:
    assert shown("업로드/a\nb".encode() + b"\xff\x1b") == "업로드/a\\nb\\xff\\x1b"
    assert len(shown(b"x" * 5000)) < 250
