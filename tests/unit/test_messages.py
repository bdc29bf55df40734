"""The two languages say the same things."""

import string

import pytest

from spoqplus_backup.messages import CATALOGUE, ENGLISH, KOREAN, component_label, duration, text


def places(message: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(message) if name is not None}


def test_both_languages_have_the_same_keys() -> None:
    assert KOREAN.keys() == ENGLISH.keys()


@pytest.mark.parametrize("key", KOREAN)
def test_both_languages_fill_the_same_places(key: str) -> None:
    assert places(KOREAN[key]) == places(ENGLISH[key])


@pytest.mark.parametrize("key", KOREAN)
def test_korean_texts_are_korean(key: str) -> None:
    assert any("가" <= letter <= "힣" for letter in KOREAN[key])


def test_every_language_is_in_the_catalogue() -> None:
    assert set(CATALOGUE) == {"ko", "en"}


def test_fills_places() -> None:
    assert text("en", "slack.backup.succeeded", site="spoqplus") == "✅ spoqplus backup complete"
    assert text("ko", "slack.backup.succeeded", site="spoqplus") == "✅ spoqplus 백업 완료"


def test_a_component_of_the_site_keeps_its_own_name() -> None:
    assert component_label("ko", "database") == "데이터베이스 전체"
    assert component_label("ko", "lockers") == "lockers"


@pytest.mark.parametrize(
    ("seconds", "korean", "english"),
    [
        (0.04, "0.0초", "0.0 s"),
        (4.25, "4.2초", "4.2 s"),
        (59.96, "1분 0초", "1 min 0 s"),
        (185, "3분 5초", "3 min 5 s"),
        (3599.7, "1시간 0분", "1 h 0 min"),
        (3725, "1시간 2분", "1 h 2 min"),
    ],
)
def test_durations_are_readable(seconds: float, korean: str, english: str) -> None:
    assert (duration("ko", seconds), duration("en", seconds)) == (korean, english)
