"""The page of a recovery test: complete in both languages, asks for nothing, and runs nothing."""

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup import report_html as package
from spoqplus_backup.core.mysql.fingerprint import Place
from spoqplus_backup.core.notice import notice
from spoqplus_backup.core.proof.model import Proof, ProofStage
from spoqplus_backup.report_html import report_html
from spoqplus_backup.report_html.charts import BASE, TOP, WIDTH, Point, bars, track
from support.proofs import CHECKS, check, proof_of

STYLE = Path(package.__file__).parent / "page.css"
HOSTILE = "\"'><img src=x onerror=alert(1)></style><script>alert(2)</script>&lt;{{ 7 * 7 }}"
VOID = {"meta", "input", "br", "hr", "img", "link"}
FAILED = (
    *CHECKS,
    check("payments", "Each payment has its member", "failed", "2 of 81,233 have none.", korean="결제의 회원"),
    check("http", "The site answers", "not_run", "No application is configured.", korean="사이트 응답"),
)


class Page(HTMLParser):
    """What a page holds; its elements have to be nested as they should."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {"ko": [], "en": []}
        self.language: str | None = None
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.elements.append((tag, found))
        if tag == "article":
            self.language = found["lang"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "article":
            self.language = None

    def handle_data(self, data: str) -> None:
        if self.language is not None:
            self.texts[self.language].append(data)

    def said(self, language: str) -> str:
        return " ".join(" ".join(self.texts[language]).split())

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def past(number: int) -> list[Proof]:
    """So many earlier tests, every seventh of which failed before anything was measured."""
    broken: dict[str, Any] = {"verdict": "failed", "rto_seconds": None, "rpo_seconds": None, "rows": 0, "bytes": 0}
    return [proof_of(position, **(broken if position % 7 == 3 else {})) for position in range(number)]


BROKEN: dict[str, Any] = {
    "verdict": "failed",
    "failure": "The sandbox can't start.",
    **dict.fromkeys(("backup", "repository", "backup_finished_at", "server", "place"), None),
    **dict.fromkeys(("rto_seconds", "rpo_seconds", "ten_times_seconds"), None),
    **dict.fromkeys(("tables", "rows", "files", "bytes"), 0),
    **dict.fromkeys(("stages", "checks"), ()),
}
CASES: dict[str, Proof] = {
    "passed": proof_of(99),
    "checks": proof_of(99, verdict="failed", checks=FAILED),
    "slow": proof_of(99, verdict="failed", rto_seconds=16_200.0),
    "loss": proof_of(99, verdict="failed", rpo_seconds=5400.0),
    "broken": proof_of(99, **BROKEN),
    "failed": proof_of(99, verdict="failed"),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[0, 1, 60])
def history(request: pytest.FixtureRequest) -> list[Proof]:
    return past(request.param)


def page(proof: Proof, tests: list[Proof] | None = None) -> Page:
    return Page(report_html(proof, tests or [], "ko", "Asia/Seoul"))


@pytest.mark.parametrize(
    ("name", "korean", "english"),
    [
        ("passed", "spoqplus 서비스를 백업으로 되살릴 수 있음을", "It is proved that spoqplus can be restored"),
        ("checks", "점검 5건 중 1건이 실패했습니다.", "Not proved: 1 of 5 checks failed."),
        ("slow", "너무 오래 걸렸습니다: 4시간 30분(약속은 4시간)", "too slowly: 4 h 30 min where 4 h is promised"),
        ("loss", "너무 많습니다: 1시간 30분(약속은 1시간)", "but 1 h 30 min would have been lost where 1 h"),
        ("broken", "끝까지 가지 못해", "did not get to its end, so nothing is proved"),
        ("failed", "증명하지 못했습니다: 복구 시험이 실패했습니다.", "Not proved: the recovery test failed."),
    ],
)
def test_the_verdict_is_one_sentence(name: str, korean: str, english: str) -> None:
    found = page(CASES[name])
    assert korean in found.said("ko")
    assert english in found.said("en")


def test_it_asks_for_nothing_and_runs_nothing(case: str, history: list[Proof]) -> None:
    html = report_html(CASES[case], history, "en", "Asia/Seoul")
    found = Page(html)
    assert not found.all("script", "link", "img", "iframe", "object", "embed", "base", "form", "use", "image")
    names = {name for _, attributes in found.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")} | (names & {"src", "href", "xlink:href", "style"})
    assert not re.search(r"url\(|@import|https?:", html)


def test_what_is_no_python_is_packaged_with_it() -> None:
    project = STYLE.parents[3] / "pyproject.toml"
    (listed,) = re.findall(r'"spoqplus_backup.report_html" = \[(.*)\]', project.read_text())
    names = {path.name for path in STYLE.parent.iterdir() if path.is_file() and path.suffix != ".py"}
    assert set(re.findall(r'"(.*?)"', listed)) == names


def test_its_policy_allows_its_own_style_sheet_and_nothing_else() -> None:
    html = report_html(CASES["passed"], [], "ko", "Asia/Seoul")
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(item["content"] for item in Page(html).all("meta") if item.get("http-equiv"))
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_both_languages_say_the_same(case: str, history: list[Proof]) -> None:
    found = page(CASES[case], history)
    korean, english = found.said("ko"), found.said("en")
    assert not re.search(r"[가-힣]", english), "an English text is missing"
    assert re.findall(r"\d{4}-\d\d-\d\d", korean) == re.findall(r"\d{4}-\d\d-\d\d", english)
    articles = {item["lang"] for item in found.all("article")}
    assert articles == {"ko", "en"}
    halves = [[tag for tag, _ in part] for part in both(found)]
    assert halves[0] == halves[1], "one language has more than the other"


def both(found: Page) -> Iterator[list[tuple[str, dict[str, str]]]]:
    starts = [position for position, (tag, _) in enumerate(found.elements) if tag == "article"]
    for first, last in pairwise([*starts, len(found.elements)]):
        yield found.elements[first:last]


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_site_s_language_is_shown_first(language: Any) -> None:
    found = Page(report_html(CASES["passed"], [], language, "Asia/Seoul"))
    assert found.all("html")[0]["lang"] == language
    chosen = [item["id"] for item in found.all("input") if "checked" in item]
    assert chosen == [f"show-{language}"]


def test_times_are_the_site_s() -> None:
    said = page(CASES["passed"]).said("en")
    assert "KST" in said
    assert "UTC" not in said


def test_it_can_be_read_by_who_does_not_see_it(case: str, history: list[Proof]) -> None:
    found = page(CASES[case], history)
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in found.elements:
        assert set(attributes.get("aria-labelledby", "").split()) <= set(ids)
    drawings = found.all("svg")
    assert all(("aria-labelledby" in item) != ("aria-hidden" in item) for item in drawings)
    described = sum(item.get("role") == "img" for item in drawings)
    assert len(found.all("desc")) == described
    assert described or case == "broken", "there is nothing to draw"
    assert all(item.get("scope") in ("col", "row") for item in found.all("th"))
    for part in both(found):
        levels = [int(tag[1]) for tag, _ in part if tag in ("h1", "h2", "h3", "h4")]
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels)), "a level is skipped"


def test_whatever_a_database_says_stays_text() -> None:
    hostile = check(HOSTILE, HOSTILE, "failed", HOSTILE)
    own = notice(f"code{HOSTILE}", "{words}", words=HOSTILE)
    proof = proof_of(
        verdict="failed",
        site=HOSTILE,
        run_id=HOSTILE,
        failure=HOSTILE,
        backup=HOSTILE,
        repository=HOSTILE,
        server=HOSTILE,
        sandbox=HOSTILE,
        place=Place(log=HOSTILE, position=4, gtid=HOSTILE, at=proof_of().started_at),
        stages=(ProofStage(name=HOSTILE, seconds=1.0),),
        checks=(hostile.model_copy(update={"evidence": (own,)}),),
    )
    html = report_html(proof, [proof_of(1, backup=HOSTILE)], "en", "Asia/Seoul")
    found = Page(html)
    assert not found.all("script", "img")
    assert html.count("</style>") == 1
    assert found.said("en").count("<script>alert(2)</script>") > 8
    assert "49" not in re.findall(r"&lt;(\S+)", found.said("en"))


def test_what_is_typed_into_a_shell_is_quoted() -> None:
    tests = [proof_of(0, backup="x; rm -rf /")]
    said = page(proof_of(9, verdict="failed", checks=FAILED, backup="y$(id)"), tests).said("en")
    assert "spoqplus-backup hold 'x; rm -rf /' --reason 'recovery test" in said
    assert "spoqplus-backup verify 'y$(id)' --read" in said


def test_failures_come_first_with_all_their_evidence() -> None:
    said = page(CASES["checks"]).said("en")
    order = [said.index(words) for words in ("2 of 81,233 have none.", "The site answers", "The database is whole")]
    assert order == sorted(order)
    assert "Of 5 checks 3 passed, 1 failed, 1 did not run." in said


def test_numbers_have_units_and_separators() -> None:
    said = page(CASES["passed"]).said("en")
    for words in ("12,345,678", "210,034", "45.0 GiB", "40 min 50 s", "17% of the limit", "15% of the limit"):
        assert words in said
    assert "6 h 41 min" in said
    assert "With ten times the data, though" in said
    assert "Waiting between tasks 12.6 s 0.5%" in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("checks", "spoqplus-backup verify daily/"),
        ("slow", "Shorten the longest stage first (Load)"),
        ("loss", "See that the archive of binary logs"),
        ("broken", "Open the log of the red task"),
    ],
)
def test_a_red_one_says_what_to_do(name: str, words: str) -> None:
    assert words in page(CASES[name]).said("en")
    assert words not in page(CASES["passed"]).said("en")
    assert words not in page(CASES["failed"]).said("en")


def test_the_backup_that_was_proved_last_is_to_be_held() -> None:
    tests = [proof_of(number, verdict="failed" if number == 4 else "passed") for number in range(5)]
    said = page(proof_of(9, verdict="failed"), tests).said("en")
    assert f"spoqplus-backup hold {proof_of(3).backup} " in said


def test_history_counts_each_test_once() -> None:
    current = CASES["passed"]
    assert "This is the first recovery test" in page(current, [current]).said("en")
    said = page(current, [*past(10), current]).said("en")
    assert "9 of 11 tests passed." not in said
    assert "10 of 11 tests passed. The last failure was on 2026-04-02." in said
    assert "The newest 11 tests" in said


def test_sixty_tests_are_the_most() -> None:
    found = page(CASES["passed"], past(75))
    assert "of 60 tests passed" in found.said("en")
    groups = [item for item in found.all("g") if item.get("class", "").startswith("bar")]
    assert len(groups) == 60 * 4 * 2
    assert "The newest 12 tests" in found.said("en")


@pytest.mark.parametrize("number", [1, 2, 60])
def test_bars_stay_in_the_picture(number: int) -> None:
    points = [Point(float(position or 1), True, False, "") for position in range(number)]
    drawn = bars(points, 70.0)
    for bar in drawn.bars:
        assert bar.x >= 0
        assert bar.x + bar.width <= WIDTH
        assert TOP <= bar.y < BASE
    assert all(before.x + before.width < after.x for before, after in pairwise(drawn.bars))


def test_a_limit_far_above_is_left_out_and_a_near_one_is_the_top() -> None:
    points = [Point(10.0, True, False, ""), Point(None, False, False, "")]
    assert bars(points, 31).limit_y is None
    near = bars(points, 20)
    assert near.limit_y == TOP
    assert near.bars[0].height == (BASE - TOP) / 2
    assert near.bars[1].height is None
    assert bars(points, 5).limit_y == (TOP + BASE) / 2


def test_a_track_ends_at_the_limit_or_beyond_it() -> None:
    assert track([10, 30], 80).pieces == ((0.0, 12.5), (12.5, 37.5))
    assert track([10, 30], 80).limit_x == 100
    assert track([100, 100], 50).limit_x == 25


def test_colours_have_contrast() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text, in the light, in the dark and on paper."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        colours = dict(re.findall(r"--(\S+): (#\w{6});", block))
        pairs = [(ink, back) for ink in ("ink", "muted") for back in ("page", "card", "code")]
        pairs += [(name, back) for name in ("good", "bad", "warn") for back in ("card", f"{name}-back")]
        pairs += [("ink", "good-back"), ("ink", "bad-back")]
        for ink, back in pairs:
            assert contrast(colours[ink], colours[back]) >= 4.5, (ink, back)


def contrast(one: str, other: str) -> float:
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
