"""The same failure does not flood Slack, its end is told, and one run keeps to one thread."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import pytest

from slack_sink import CHANNEL, SlackSink, readable
from spoqplus_backup.notifications.blocks import context, header
from spoqplus_backup.notifications.conversation import Told, Turn, digest, speak
from spoqplus_backup.notifications.memory import Thread
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.slack import Sender, SlackError, sender

START = datetime(2026, 1, 2, 3, 15, tzinfo=timezone.utc)
DOWN = "archive.upload: s3: connection refused"


@dataclass
class Kept:
    """Remembers as a Variable does: copies."""

    kept: list[Thread] = field(default_factory=list)

    def threads(self) -> list[Thread]:
        return deepcopy(self.kept)

    def keep(self, threads: Sequence[Thread]) -> None:
        self.kept = deepcopy(list(threads))


@dataclass
class Club:
    """A DAG whose runs come one after the other."""

    sink: SlackSink
    way: Sender
    memory: Kept = field(default_factory=Kept)
    turn: Turn = field(
        default_factory=lambda: Turn("run 0", False, "en", "UTC", repeat_hours=6, now=START, channel=CHANNEL)
    )
    runs: int = 0

    def run(self, message: Message | None, *, succeeded: bool, later: timedelta = timedelta(), **turn: object) -> Told:
        self.runs += 1
        values = {"run_id": f"run {self.runs}", "succeeded": succeeded, "now": self.turn.now + later} | turn
        self.turn = replace(self.turn, **values)  # type: ignore[arg-type]
        return speak(message, self.turn, self.way, self.memory)

    def fails(self, cause: str = DOWN, minutes: float = 15, **turn: object) -> Told:
        return self.run(failure(cause), succeeded=False, later=timedelta(minutes=minutes), **turn)

    def works(self, message: Message | None = None, **turn: object) -> Told:
        return self.run(message, succeeded=True, later=timedelta(minutes=15), **turn)

    @property
    def channel(self) -> list[str]:
        return [item["text"] for item in self.sink.channel]

    def thread(self, number: int = 0) -> list[str]:
        return [item["text"] for item in self.sink.thread(self.sink.channel[number])]


def failure(cause: str = DOWN) -> Message:
    return Message("❌ archive failed", [header("❌ archive failed"), context(cause)], cause=cause)


def success(title: str = "✅ backup complete") -> Message:
    return Message(title, [header(title), context("all of it")])


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackSink]:
    monkeypatch.setattr("spoqplus_backup.notifications.slack.time.sleep", lambda _: None)
    with SlackSink() as running:
        monkeypatch.setenv("AIRFLOW_CONN_WEBHOOK", running.connection)
        monkeypatch.setenv("AIRFLOW_CONN_BOT", running.bot_connection)
        yield running


@pytest.fixture
def bot(sink: SlackSink) -> Club:
    return Club(sink, sender("bot", CHANNEL))


@pytest.fixture
def webhook(sink: SlackSink) -> Club:
    return Club(sink, sender("webhook", None))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("upload: 3 of 17 at 2026-01-02 failed", "upload: 5 of 9 at 2026-03-04 failed", True),
        ("upload: object 0fa3bb22c1 lost", "upload: object 99e1a0c07f lost", True),
        ("upload: refused", "upload: denied", False),
        ("upload: refused", "dump: refused", False),
    ],
)
def test_numbers_do_not_make_another_cause(one: str, other: str, same: bool) -> None:
    assert (digest(one) == digest(other)) is same


class TestABot:
    def test_a_night_of_failures_is_one_thread(self, bot: Club) -> None:
        for _ in range(12):
            assert bot.fails() == "sent"
        assert bot.channel == ["❌ archive failed (×12)"]
        assert len(bot.thread()) == 11
        said = readable(bot.sink.messages[0])
        assert "The same failure 12 times · first 2026-01-02 03:30:00 UTC · last 2026-01-02 06:15:00 UTC" in said
        assert DOWN in said

    def test_the_channel_is_reminded(self, bot: Club) -> None:
        for _ in range(26):  # 6.25 hours after the first
            bot.fails()
        assert bot.channel == ["❌ archive failed (×26)", "❌ archive failed"]

    def test_it_is_over_when_a_run_succeeds_that_has_nothing_to_say(self, bot: Club) -> None:
        bot.fails()
        bot.fails()
        assert bot.works() == "sent"
        assert bot.channel == ["✅ Over: archive failed", "✅ Over: archive failed"]
        assert "had failed 2 times since 2026-01-02 03:30:00 UTC, for 30 min 0 s" in readable(bot.sink.messages[-1])
        assert bot.memory.kept == []
        assert bot.works() == "nothing"

    def test_a_success_that_is_told_says_so_itself(self, bot: Club) -> None:
        bot.fails()
        bot.works(success())
        assert bot.channel == ["✅ Over: archive failed", "✅ backup complete"]
        assert bot.thread() == ["✅ Over: archive failed"]
        assert "had failed 1 times" in readable(bot.sink.messages[1])

    def test_another_cause_is_another_thread_and_both_end(self, bot: Club) -> None:
        bot.fails()
        bot.fails("archive.rotate: no connection")
        bot.fails()
        assert bot.channel == ["❌ archive failed (×2)", "❌ archive failed"]
        bot.works(success())
        assert bot.channel[:2] == ["✅ Over: archive failed"] * 2
        assert bot.memory.kept == []

    def test_a_run_that_works_but_is_late_ends_the_failure_and_not_the_lateness(self, bot: Club) -> None:
        late = replace(failure("late"), text="⚠️ late", blocks=[header("⚠️ late")])
        bot.fails()
        bot.works(late)
        bot.works(late)
        assert bot.channel == ["✅ Over: archive failed", "⚠️ late (×2)"]
        bot.works()
        assert bot.channel[1] == "✅ Over: late"

    def test_a_run_that_is_cleared_stays_in_its_thread(self, bot: Club) -> None:
        bot.fails(run_id="the run")
        bot.fails(run_id="the run")  # the channel sees it: somebody waits for it
        bot.works(success(), run_id="the run")
        assert bot.channel == ["✅ Over: archive failed", "❌ archive failed", "✅ backup complete"]
        assert bot.thread() == ["❌ archive failed", "✅ backup complete"]

    def test_a_question_and_what_came_of_it(self, bot: Club) -> None:
        asked = Message("⏸ may it delete?", [header("⏸ may it delete?")], asks=True)
        bot.fails("of a run before")
        bot.works(asked, run_id="the run")
        assert bot.channel == ["❌ archive failed", "⏸ may it delete?"]  # a question ends nothing
        bot.works(success("✅ retention complete"), run_id="the run")
        assert bot.channel == ["✅ Over: archive failed", "✅ retention complete", "✅ retention complete"]
        assert bot.memory.kept == []

    def test_a_question_and_the_failure_that_it_was_about(self, bot: Club) -> None:
        asked = Message("🛑 put back?", [header("🛑 put back?")], asks=True)
        bot.run(asked, succeeded=False, run_id="the run", alone=True)
        bot.fails(run_id="the run", alone=True)
        assert bot.channel == ["❌ archive failed", "❌ archive failed"]
        assert len(bot.thread()) == 1

    def test_runs_that_stand_alone_neither_join_nor_end_each_other(self, bot: Club) -> None:
        bot.fails(alone=True)
        bot.fails(alone=True)
        bot.works(success("✅ another restore"), alone=True)
        assert bot.channel == ["❌ archive failed", "❌ archive failed", "✅ another restore"]

    def test_a_thread_that_somebody_deleted_begins_anew(self, bot: Club) -> None:
        bot.fails()
        del bot.sink.messages[0]
        bot.sink.messages.append({"ts": "0", "text": "something of a person"})
        bot.fails()
        bot.fails()
        assert bot.channel == ["something of a person", "❌ archive failed (×3)"]

    def test_where_messages_may_not_be_edited_there_still_is_one_thread(self, bot: Club) -> None:
        bot.fails()
        bot.sink.refusals = ["edit_window_closed"]
        bot.fails()
        assert bot.channel == ["❌ archive failed"]
        assert len(bot.thread()) == 1

    def test_another_channel_has_threads_of_its_own(self, bot: Club) -> None:
        bot.fails()
        bot.fails(channel="C0BACKUP")
        assert bot.channel == ["❌ archive failed"] * 2

    def test_a_slack_that_was_down_hears_how_often_it_was(self, bot: Club) -> None:
        bot.sink.statuses = [503] * 3
        with pytest.raises(SlackError):
            bot.fails()
        bot.fails()
        assert bot.channel == ["❌ archive failed"]
        assert "The same failure 2 times · first 2026-01-02 03:30:00 UTC" in readable(bot.sink.messages[0])

    def test_the_end_is_told_once_slack_is_there(self, bot: Club) -> None:
        bot.fails()
        bot.sink.statuses = [503] * 3
        with pytest.raises(SlackError):
            bot.works()
        assert bot.works() == "sent"
        assert bot.channel[0] == "✅ Over: archive failed"


class TestAWebhook:
    def test_a_night_of_failures_is_one_message_every_six_hours(self, webhook: Club) -> None:
        told = [webhook.fails() for _ in range(50)]  # 12.5 hours
        assert told.count("held_back") == 47
        assert [number for number, word in enumerate(told) if word == "sent"] == [0, 24, 48]
        assert "The same failure 49 times" in readable(webhook.sink.messages[2])

    def test_it_works_again(self, webhook: Club) -> None:
        webhook.fails()
        webhook.fails()
        assert webhook.works() == "sent"
        assert webhook.channel == ["❌ archive failed", "✅ Works again: archive failed"]
        assert webhook.works() == "nothing"
        assert webhook.fails() == "sent"

    def test_a_success_that_is_told_says_so_itself(self, webhook: Club) -> None:
        webhook.fails()
        webhook.works(success())
        assert webhook.channel == ["❌ archive failed", "✅ backup complete"]
        assert "Works again. It had failed 1 times" in readable(webhook.sink.messages[1])

    def test_what_a_person_waits_for_is_told(self, webhook: Club) -> None:
        webhook.fails(run_id="the run")
        assert webhook.fails(by_hand=True) == "sent"
        assert webhook.fails(run_id="the run", by_hand=False) == "sent"
        assert webhook.fails() == "held_back"

    def test_what_slack_never_heard_is_not_held_back(self, webhook: Club) -> None:
        webhook.sink.statuses = [503] * 3
        with pytest.raises(SlackError):
            webhook.fails()
        assert webhook.fails() == "sent"


def test_much_to_say_does_not_fill_the_memory(bot: Club) -> None:
    long = replace(failure(), blocks=[header("❌ archive failed"), *(context("x" * 2900) for _ in range(9))])
    bot.run(long, succeeded=False)
    assert bot.memory.kept[0].blocks == [header("❌ archive failed")]
    bot.run(long, succeeded=False)
    assert bot.channel == ["❌ archive failed (×2)"]


def test_two_runs_at_once_cost_a_count_and_nothing_else(bot: Club) -> None:
    bot.fails()
    other = Club(bot.sink, bot.way, Kept(bot.memory.threads()), bot.turn, runs=5)
    bot.fails()
    other.fails()  # read what was there before the other wrote
    bot.memory.keep(other.memory.threads())
    assert bot.channel == ["❌ archive failed (×2)"]
    assert len(bot.thread()) == 2
    bot.works()
    assert bot.memory.kept == []
