"""What the page says of a test, in one language."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from zoneinfo import ZoneInfo

from spoqplus_backup import __version__
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.proof.model import Proof
from spoqplus_backup.messages import Language, check_title, duration, label, local_time, notice_text, text
from spoqplus_backup.report_html.charts import Bars, Point, Track, bars, track

MOST_TESTS = 60  # in the charts, this one included
MOST_ROWS = 12  # in the table below them
SHOWN_WAIT_SECONDS = 1.0
HOUR = 3600
ORDER = ("failed", "not_run", "passed")


@dataclass(frozen=True)
class Measure:
    """A big number against its limit: `state` is good, bad or none."""

    label: str
    help: str
    value: str
    state: str
    words: str
    share: str
    track: Track


@dataclass(frozen=True)
class StageRow:
    """A stage of the restore, as its row in the table says it; `number` is its colour's."""

    number: int
    label: str
    seconds: float
    time: str
    share: str
    bytes: str
    rate: str


@dataclass(frozen=True)
class CheckText:
    """A check as it is shown."""

    name: str
    title: str
    verdict: str
    word: str
    took: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Chart:
    """A chart of the history, and what it shows in words."""

    id: str
    title: str
    now: str
    description: str
    most: str
    limit: str
    drawn: Bars


@dataclass(frozen=True)
class Step:
    """Something to do; `command` is what to type, empty when that is nothing."""

    words: str
    command: str = ""


class View:
    """A test in a language; the template asks it for everything that it shows."""

    version = __version__

    def __init__(self, proof: Proof, history: Sequence[Proof], language: Language, timezone: str) -> None:
        self.proof = proof
        self.language = language
        self.timezone = timezone
        earlier = sorted((item for item in history if item.id != proof.id), key=lambda item: item.started_at)
        self.tests = (*earlier[-(MOST_TESTS - 1) :], proof)

    def t(self, key: str, **fields: object) -> str:
        """A text of the report."""
        return text(self.language, f"proof.{key}", **fields)

    def when(self, moment: datetime) -> str:
        """A time in the site's zone."""
        return local_time(moment.isoformat(), self.timezone)

    def date(self, moment: datetime) -> str:
        """A day in the site's zone."""
        return f"{moment.astimezone(ZoneInfo(self.timezone)):%Y-%m-%d}"

    def takes(self, seconds: float) -> str:
        """A duration."""
        return duration(self.language, seconds)

    def limit(self, seconds: float) -> str:
        """What was promised."""
        return self.t("hours", hours=f"{seconds / HOUR:g}")

    def count(self, number: int) -> str:
        """A number with separators."""
        return f"{number:,}"

    def size(self, number: float) -> str:
        """Bytes."""
        return human_bytes(number)

    def verdict(self, verdict: str) -> str:
        """A verdict in a word."""
        return self.t(f"verdict.{verdict}")

    @cached_property
    def _by_verdict(self) -> dict[str, int]:
        return {name: sum(check.verdict == name for check in self.proof.checks) for name in ORDER}

    @cached_property
    def reason(self) -> str:
        """Why the test is green or red: names the sentence at the top."""
        proof = self.proof
        if proof.verdict == "passed":
            return "passed"
        if proof.failure is not None:
            return "broken"
        if self._by_verdict["failed"]:
            return "checks"
        if proof.rto_seconds is not None and not proof.in_time:
            return "slow"
        return "loss" if proof.rpo_seconds is not None and not proof.little_lost else "failed"

    @property
    def sentence(self) -> str:
        """The verdict in one plain sentence."""
        proof = self.proof
        seconds, limit = {
            "slow": (proof.rto_seconds, proof.rto_limit_seconds),
            "loss": (proof.rpo_seconds, proof.rpo_limit_seconds),
        }.get(self.reason, (None, 0.0))
        return self.t(
            f"sentence.{self.reason}",
            site=proof.site,
            checks=len(proof.checks),
            failed=self._by_verdict["failed"],
            measured=self.takes(seconds or 0),
            limit=self.limit(limit),
        )

    @property
    def lead(self) -> list[str]:
        """What stands behind the verdict."""
        proof, said = self.proof, []
        if proof.failure is not None:
            said.append(f"{self.t('lead.why')} {proof.failure}")
        if proof.backup is not None and proof.rto_seconds is not None:
            counts = {name: self.count(getattr(proof, name)) for name in ("tables", "rows", "files")}
            said.append(self.t("lead.restored", backup=proof.backup, **counts))
        if proof.checks:
            key = "lead.all_passed" if self._by_verdict["passed"] == len(proof.checks) else "lead.checks"
            said.append(self.t(key, checks=len(proof.checks), **self._by_verdict))
        return said

    @property
    def tested(self) -> str:
        """When, and for how long."""
        proof = self.proof
        seconds = (proof.finished_at - proof.started_at).total_seconds()
        return self.t("tested.from_to", start=self.when(proof.started_at), duration=self.takes(seconds))

    @property
    def measures(self) -> list[Measure]:
        """RTO and RPO."""
        proof = self.proof
        return [
            self._measure("rto", proof.rto_seconds, proof.rto_limit_seconds, good=proof.in_time),
            self._measure("rpo", proof.rpo_seconds, proof.rpo_limit_seconds, good=proof.little_lost),
        ]

    def _measure(self, name: str, seconds: float | None, limit: float, *, good: bool) -> Measure:
        label, helping = self.t(name), self.t(f"{name}.help")
        if seconds is None:
            words = self.t("limit", limit=self.limit(limit))
            return Measure(label, helping, self.t("unmeasured"), "none", words, "", track([], limit))
        return Measure(
            label=label,
            help=helping,
            value=self.takes(seconds),
            state="good" if good else "bad",
            words=self.t("within" if good else "over", limit=self.limit(limit)),
            share=self.t("of_limit", share=f"{seconds / limit:,.0%}"),
            track=track([seconds], limit),
        )

    @property
    def ten_times(self) -> tuple[str, str, bool] | None:
        """How long ten times the data would take, what that is against the limit, and whether it is within."""
        proof = self.proof
        if proof.ten_times_seconds is None:
            return None
        within = proof.ten_times_seconds <= proof.rto_limit_seconds
        words = self.t("within" if within else "over", limit=self.limit(proof.rto_limit_seconds))
        return self.takes(proof.ten_times_seconds), words, within

    @property
    def stages(self) -> list[StageRow]:
        """What the time to restore is made of; what no stage accounts for comes last."""
        proof = self.proof
        total = self.stage_total
        rows = [
            StageRow(
                number=number,
                label=self._stage(stage.name),
                seconds=stage.seconds,
                time=self.takes(stage.seconds),
                share=self._share(stage.seconds, total),
                bytes=self.size(stage.bytes) if stage.bytes else "",
                rate=f"{self.size(stage.bytes / stage.seconds)}/s" if stage.bytes and stage.seconds else "",
            )
            for number, stage in enumerate(proof.stages, 1)
        ]
        waited = total - sum(stage.seconds for stage in proof.stages)
        if rows and waited >= SHOWN_WAIT_SECONDS:
            share = self._share(waited, total)
            rows.append(StageRow(0, self.t("stages.waiting"), waited, self.takes(waited), share, "", ""))
        return rows

    @property
    def stage_total(self) -> float:
        """The measured RTO, or as much of it as was measured; seconds."""
        return max(self.proof.rto_seconds or 0, sum(stage.seconds for stage in self.proof.stages))

    @property
    def stage_track(self) -> Track:
        """The stages one after the other, against the limit."""
        return track([row.seconds for row in self.stages], self.proof.rto_limit_seconds)

    def _stage(self, name: str) -> str:
        return label(self.language, f"stage.{name}", name)

    @staticmethod
    def _share(seconds: float, total: float) -> str:
        return f"{seconds / total:.1%}" if total else ""

    @property
    def checks(self) -> list[CheckText]:
        """Every check, those that failed first."""
        return [
            CheckText(
                name=check.name,
                title=check_title(check.title, check.name, self.language),
                verdict=check.verdict,
                word=self.verdict(check.verdict),
                took=self.t("checks.took", duration=self.takes(check.seconds), time=self.when(check.finished_at)),
                evidence=tuple(notice_text(self.language, item.model_dump()) for item in check.evidence),
            )
            for check in sorted(self.proof.checks, key=lambda check: ORDER.index(check.verdict))
        ]

    @property
    def source(self) -> list[tuple[str, str, bool]]:
        """What was restored: a label, a value, and whether that is a name from a machine."""
        proof = self.proof
        place = proof.place
        sandbox = (
            self.t("source.private") if proof.sandbox == "private" else self.t("source.connection", name=proof.sandbox)
        )
        finished = proof.backup_finished_at
        found = [
            ("backup", proof.backup, True),
            ("backup_finished", self.when(finished) if finished else None, False),
            ("repository", proof.repository, True),
            ("server", proof.server, False),
            ("place", _place(place.log, place.position, place.gtid) if place else None, True),
            ("place_at", self.when(place.at) if place else None, False),
            ("sandbox", sandbox, False),
            ("test", proof.id, True),
            ("run", proof.run_id, True),
        ]
        return [(self.t(f"source.{name}"), value, code) for name, value, code in found if value]

    @property
    def growth(self) -> str:
        """What to think of in time, when the promise would not hold for ten times the data."""
        ten = self.ten_times
        if self.proof.verdict == "failed" or ten is None or ten[2] or not self.proof.stages:
            return ""
        return self.t("means.growth", stage=self._longest)

    @property
    def _longest(self) -> str:
        return self._stage(max(self.proof.stages, key=lambda stage: stage.seconds).name)

    @property
    def steps(self) -> list[Step]:
        """What to do about a test that failed."""
        proof = self.proof
        steps = []
        if proof.failure is not None:
            steps.append(Step(self.t("do.broken")))
        if self._by_verdict["failed"]:
            verify = f"spoqplus-backup verify {shlex.quote(proof.backup)} --read" if proof.backup is not None else ""
            steps.append(Step(self.t("do.checks"), verify))
        if proof.rto_seconds is not None and not proof.in_time and proof.stages:
            steps.append(Step(self.t("do.slow", stage=self._longest)))
        if proof.rpo_seconds is not None and not proof.little_lost:
            steps.append(Step(self.t("do.loss")))
        if proved := [item.backup for item in self.tests if item.verdict == "passed" and item.backup is not None]:
            reason = shlex.quote(self.t("do.hold.reason", id=proof.id))
            steps.append(Step(self.t("do.hold"), f"spoqplus-backup hold {shlex.quote(proved[-1])} --reason {reason}"))
        return [*steps, Step(self.t("do.backup")), Step(self.t("do.again"))]

    @property
    def history_sum(self) -> str:
        """How many tests passed, and when one last did not."""
        failed = [item for item in self.tests if item.verdict == "failed"]
        passed = len(self.tests) - len(failed)
        said = self.t("history.sum", tests=self.count(len(self.tests)), passed=self.count(passed))
        if failed:
            said += " " + self.t("history.last_failed", date=self.date(failed[-1].started_at))
        return said

    @property
    def table(self) -> tuple[Proof, ...]:
        """The newest tests, newest first."""
        return self.tests[: -MOST_ROWS - 1 : -1]

    @property
    def charts(self) -> list[Chart]:
        """How the measures changed from test to test; of what was never measured there is none."""
        proof = self.proof
        found = [
            self._chart("rto", lambda item: item.rto_seconds, self.takes, proof.rto_limit_seconds),
            self._chart("rpo", lambda item: item.rpo_seconds, self.takes, proof.rpo_limit_seconds),
            self._chart("rows", lambda item: item.rows or None, lambda value: self.count(round(value))),
            self._chart("bytes", lambda item: item.bytes or None, self.size),
        ]
        return [chart for chart in found if chart is not None]

    def _chart(
        self,
        name: str,
        value: Callable[[Proof], float | None],
        say: Callable[[float], str],
        limit: float | None = None,
    ) -> Chart | None:
        known = [found for item in self.tests if (found := value(item)) is not None]
        if not known:
            return None

        def told(item: Proof) -> str:
            found = value(item)
            return self.t("unmeasured") if found is None else say(found)

        def point(item: Proof) -> Point:
            title = f"{self.date(item.started_at)}: {told(item)}, {self.verdict(item.verdict)}"
            return Point(value(item), item.verdict == "passed", item is self.proof, title)

        drawn = bars([point(item) for item in self.tests], limit)
        place = "above" if drawn.limit_y is None else "dashed"
        description = self.t(
            "history.chart",
            tests=self.count(len(self.tests)),
            first=self.date(self.tests[0].started_at),
            last=self.date(self.tests[-1].started_at),
            least=say(min(known)),
            most=say(max(known)),
            now=told(self.proof),
        )
        return Chart(
            id=name,
            title=self.t(f"history.{name}"),
            now=told(self.proof),
            description=description,
            most=say(max(known)),
            limit=self.t(f"history.limit_{place}", limit=self.limit(limit)) if limit is not None else "",
            drawn=drawn,
        )


def _place(log: str, position: int, gtid: str | None) -> str:
    return f"{log}:{position}" + (f" · GTID {gtid}" if gtid else "")
