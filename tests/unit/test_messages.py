"""The two languages say the same things."""

import re
import string
from pathlib import Path
from typing import get_args

import pytest

from spoqplus_backup import messages
from spoqplus_backup.core.manifest import Gap
from spoqplus_backup.core.notice import notice
from spoqplus_backup.messages import (
    CATALOGUE,
    ENGLISH,
    GAPS,
    KOREAN,
    NOTICES,
    component_label,
    duration,
    gap_text,
    notice_text,
    text,
)

CORE = Path(messages.__file__).parent / "core"


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


def test_every_notice_of_the_core_has_a_korean_form() -> None:
    codes: dict[str, str] = {}
    for path in CORE.rglob("*.py"):
        source = path.read_text()
        codes |= dict.fromkeys(re.findall(r'\bnotice\(\s*"([a-z_.]+)"', source), source)
    assert codes.keys() == NOTICES.keys()
    for code, source in codes.items():
        assert all(f"{{{place}}}" in source for place in places(NOTICES[code])), code
        assert any("가" <= letter <= "힣" for letter in NOTICES[code])


def test_a_notice_is_said_in_the_site_s_language() -> None:
    found = notice("plan.version", "The backup is of version {backup}, the target is {target}.", backup="9.7", target=8)
    assert found.words == "The backup is of version 9.7, the target is 8."
    assert notice_text("en", found.model_dump()) == found.words
    assert notice_text("ko", found.model_dump()) == "백업의 버전은 9.7이고 대상 서버는 8입니다."
    assert notice_text("ko", notice("of an older version", "Mind {what}.", what="it").model_dump()) == "Mind it."


def test_every_reason_of_a_gap_has_a_korean_form() -> None:
    assert GAPS.keys() == set(get_args(Gap.model_fields["reason"].annotation))
    gap = Gap(reason="reset", words="The logs were reset.").model_dump()
    assert gap_text("en", gap) == "The logs were reset."
    assert gap_text("ko", gap).startswith("서버의 바이너리 로그가 초기화되었습니다. ")
