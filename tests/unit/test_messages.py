"""What people read is there in both languages, and all of it is asked for by something."""

import re
from pathlib import Path
from typing import get_args

import pytest

from spoqplus_backup import messages
from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.manifest import Gap
from spoqplus_backup.core.notice import notice
from spoqplus_backup.message_files import OF_THE_CORE, places, texts
from spoqplus_backup.messages import component_label, duration, gap_text, label, notice_text, text
from support.texts_used import uses

CORE = Path(messages.__file__).parent / "core"
ASKED_FOR = [key for key in texts() if not key.startswith(OF_THE_CORE)]


def test_korean_texts_are_korean() -> None:
    assert [key for key, found in texts().items() if not re.search("[가-힣]", found.ko)] == []


def test_english_texts_are_english() -> None:
    korean = [key for key, found in texts().items() if found.en and re.search("[가-힣]", found.en)]
    assert korean in ([], ["proof.language.name"])


def test_every_text_that_code_asks_for_is_there_and_gets_its_fields() -> None:
    wrong = []
    for asked in uses().asked:
        keys = [key for key in texts() if any(re.fullmatch(pattern, key) for pattern in asked.patterns)]
        if not keys:
            wrong.append(f"{asked.where} asks for {asked.patterns}: add it to include/messages")
        elif asked.fields is not None and all(places(texts()[key].ko) - asked.fields for key in keys):
            wrong.append(f"{asked.where} does not fill every place of {keys}")
    assert wrong == []
    assert len(uses().asked) > 300


def test_no_text_is_left_that_nothing_asks_for() -> None:
    assert [key for key in ASKED_FOR if not uses().has(key)] == []


def test_fills_places() -> None:
    assert text("en", "slack.backup.succeeded", site="spoqplus") == "✅ spoqplus backup complete"
    assert text("ko", "slack.backup.succeeded", site="spoqplus") == "✅ spoqplus 백업 완료"


def test_says_which_text_or_field_is_missing() -> None:
    with pytest.raises(SettingsError, match=r"no text `slack\.nothing` in `en`: add it"):
        text("en", "slack.nothing")
    with pytest.raises(SettingsError, match=r"`slack\.backup\.succeeded` has \{site\}, which nothing fills"):
        text("ko", "slack.backup.succeeded")


def test_what_has_no_text_keeps_its_own_name() -> None:
    assert component_label("ko", "database") == "데이터베이스 전체"
    assert component_label("ko", "lockers") == "lockers"
    assert label("en", "stage.dump", "dump") == "Dump"


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
    assert {f"notice.{code}" for code in codes} == {key for key in texts() if key.startswith("notice.")}
    for code, source in codes.items():
        assert all(f"{{{place}}}" in source for place in places(texts()[f"notice.{code}"].ko)), code


def test_a_notice_is_said_in_the_site_s_language() -> None:
    found = notice("plan.version", "The backup is of version {backup}, the target is {target}.", backup="9.7", target=8)
    assert found.words == "The backup is of version 9.7, the target is 8."
    assert notice_text("en", found.model_dump()) == found.words
    assert notice_text("ko", found.model_dump()) == "백업의 버전은 9.7이고 대상 서버는 8입니다."


def test_a_notice_of_another_version_is_said_as_it_was_written() -> None:
    assert notice_text("ko", notice("of an older version", "Mind {what}.", what="it").model_dump()) == "Mind it."
    assert notice_text("ko", notice("plan.version", "Versions differ.").model_dump()) == "Versions differ."


def test_every_reason_of_a_gap_has_a_korean_form() -> None:
    reasons = {f"gap.reason.{reason}" for reason in get_args(Gap.model_fields["reason"].annotation)}
    assert {key for key in texts() if key.startswith("gap.reason.")} == reasons
    gap = Gap(reason="reset", words="The logs were reset.").model_dump()
    assert gap_text("en", gap) == "The logs were reset."
    assert gap_text("ko", gap).startswith("서버의 바이너리 로그가 초기화되었습니다. ")
