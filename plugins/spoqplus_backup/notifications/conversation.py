"""What to say of a run, given what was said before: the same failure does not flood, and its end is told.

With Slack's API, what is wrong has a thread: its first message counts and says when it is over, each further failure is
an answer in it, which the channel sees every `slack.repeat_hours`. A webhook knows no threads: the same failure is told
every `slack.repeat_hours`, with a count. What a person waits for (a run by hand, one that was cleared) is always told.
"""

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from spoqplus_backup.messages import Language, duration, local_time, text
from spoqplus_backup.notifications.blocks import context, header
from spoqplus_backup.notifications.memory import Memory, Thread
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.slack import Posted, Sender, SlackRefusedError

log = logging.getLogger(__name__)

MOST_RUNS = 20  # of a thread that are remembered
GONE = "message_not_found"
NUMBERS = re.compile(r"\b[0-9a-f]{8,}\b|\d+")
KEPT_CHARACTERS = 12_000  # of a first message, to write it again
Told = Literal["sent", "held_back", "nothing"]


@dataclass(frozen=True)
class Turn:
    """The run that speaks. `alone`: other runs of its DAG have nothing to do with it, as of restores."""

    run_id: str
    succeeded: bool
    language: Language
    timezone: str
    repeat_hours: float
    now: datetime
    channel: str | None = None
    by_hand: bool = False
    alone: bool = False


def digest(cause: str, run: str = "") -> str:
    """What tells one cause from another: its words without numbers, dates, names of sets; and a run if it matters."""
    return hashlib.sha256(f"{run}|{re.sub(NUMBERS, '#', cause)}".encode()).hexdigest()[:16]


def speak(message: Message | None, turn: Turn, sender: Sender, memory: Memory) -> Told:
    """Say what is to be said of a run, and remember it.

    Args:
        message: what the run has to say; None for a success of which there is nothing to tell.
        turn: the run.
        sender: the way to Slack.
        memory: what was said before.

    Raises:
        SlackError: Slack did not take it; what is wrong is remembered and counted all the same.
    """
    talk = _Talk(turn, sender, memory.threads())
    try:
        over = talk.over(message)
        if message is not None and message.cause is None and over:
            message = message.with_lines(context(talk.recovery(over)))
        told: Told = "nothing" if message is None else talk.tell(message)
        return talk.close(over, announced=message is not None) or told
    finally:
        memory.keep(talk.threads)


class _Talk:
    """The threads of a DAG while one of its runs speaks."""

    def __init__(self, turn: Turn, sender: Sender, threads: list[Thread]) -> None:
        self.turn = turn
        self.sender = sender
        self.threads = threads

    def tell(self, message: Message) -> Told:
        """Say what is wrong as often as it should be said, and anything else at once."""
        if message.cause is not None:
            return self._tell_again(message, self._digest(message.cause))
        mine = next((thread for thread in self.threads if self.turn.run_id in thread.runs), None)
        if mine is None or not self._answer(mine, message, broadcast=True):
            posted = self.sender.post(message)
            if message.asks and posted.ts:
                mine = self._new()
                self._begin(mine, posted, message)
        if mine is not None and mine.cause is None and not message.asks:
            self.threads.remove(mine)
        return "sent"

    def over(self, message: Message | None) -> list[Thread]:
        """What is wrong no longer, now that the run succeeded."""
        if not self.turn.succeeded or (message is not None and message.asks):
            return []
        still = None if message is None or message.cause is None else self._digest(message.cause)
        return [
            thread
            for thread in self.threads
            if thread.cause not in (None, still) and (not self.turn.alone or self.turn.run_id in thread.runs)
        ]

    def close(self, over: Sequence[Thread], *, announced: bool) -> Told | None:
        """Say that it is over: in its first message, in its thread, and to the channel unless it knows already."""
        if over and not announced and not self.sender.threads:
            title = text(self.turn.language, "slack.thread.works_again", title=_bare(over[-1]))
            self.sender.post(Message(title, [header(title), context(self.recovery(over))]))
        for thread in over:
            if (place := self._place(thread)) is not None:
                title = text(self.turn.language, "slack.thread.over", title=_bare(thread))
                closing = Message(title, [context(self.recovery([thread]))])
                there = self._update(place, _first(thread).with_lines(*closing.blocks, title=title))
                if there and not (announced and self.turn.run_id in thread.runs):
                    self.sender.post(closing, place, broadcast=not announced)
            self.threads.remove(thread)
        return "sent" if over else None

    def recovery(self, over: Sequence[Thread]) -> str:
        """Since when it was wrong, and how often."""
        first = min(thread.first_at for thread in over)
        return text(
            self.turn.language,
            "slack.thread.recovered",
            count=sum(thread.count for thread in over),
            first=self._time(first),
            time=duration(self.turn.language, (self.turn.now - first).total_seconds()),
        )

    def _tell_again(self, message: Message, cause: str) -> Told:
        turn, thread = self.turn, self._thread_of(cause)
        waited_for = turn.by_hand or turn.run_id in thread.runs
        pause = timedelta(hours=turn.repeat_hours)
        due = waited_for or thread.told_at is None or turn.now - thread.told_at >= pause
        thread.cause, thread.last_at = cause, turn.now
        thread.count += 1
        thread.runs = [*(run for run in thread.runs if run != turn.run_id), turn.run_id][-MOST_RUNS:]
        said = message.with_lines(context(self._so_often(thread))) if thread.count > 1 else message
        if not self._answer(thread, said, broadcast=due):
            if not due and not self.sender.threads:
                return "held_back"
            self._begin(thread, self.sender.post(said), message)
            due = True
        if due:
            thread.told_at = turn.now
        return "sent"

    def _thread_of(self, cause: str) -> Thread:
        """The thread of this cause, or that of the run, in which nothing was wrong yet, or a new one."""
        for thread in self.threads:
            if thread.cause == cause or (thread.cause is None and self.turn.run_id in thread.runs):
                return thread
        return self._new()

    def _new(self) -> Thread:
        thread = Thread(first_at=self.turn.now, last_at=self.turn.now, runs=[])
        self.threads.append(thread)
        return thread

    def _begin(self, thread: Thread, posted: Posted, message: Message) -> None:
        """Remember the first message of a thread."""
        if self.turn.run_id not in thread.runs:
            thread.runs.append(self.turn.run_id)
        thread.channel, thread.ts, thread.asked_channel = posted.channel, posted.ts, self.turn.channel
        thread.text = message.text
        thread.blocks = message.blocks if len(str(message.blocks)) <= KEPT_CHARACTERS else message.blocks[:1]

    def _answer(self, thread: Thread, message: Message, *, broadcast: bool) -> bool:
        """Say it in a thread and, in its first message, that it goes on; False when that is not possible."""
        place = self._place(thread)
        if place is None or not self._update(place, self._headline(thread, message)):
            return False
        try:
            self.sender.post(message, place, broadcast=broadcast)
        except SlackRefusedError as error:
            log.info("Slack takes no answer in the thread of %s: %s", thread.runs, error)
            return False
        return True

    def _update(self, place: Posted, message: Message) -> bool:
        """Change a first message; False when somebody deleted it."""
        try:
            self.sender.update(place, message)
        except SlackRefusedError as error:
            log.info("Slack did not change the message of %s: %s", place.ts, error)
            return GONE not in str(error)
        return True

    def _place(self, thread: Thread) -> Posted | None:
        """Where it begins in Slack, if it is there and the channel still is the one of the setting."""
        if not self.sender.threads or thread.ts is None or thread.asked_channel != self.turn.channel:
            return None
        return Posted(thread.channel, thread.ts)

    def _headline(self, thread: Thread, message: Message) -> Message:
        """The first message of a thread, with what is newest in it."""
        if thread.count > 1:
            title = text(self.turn.language, "slack.thread.title", title=message.title, count=thread.count)
            return _first(thread).with_lines(context(self._so_often(thread)), title=title)
        line = text(self.turn.language, "slack.thread.goes_on", time=self._time(self.turn.now))
        return _first(thread).with_lines(context(line), title=message.title)

    def _digest(self, cause: str) -> str:
        return digest(cause, self.turn.run_id if self.turn.alone else "")

    def _so_often(self, thread: Thread) -> str:
        return text(
            self.turn.language,
            "slack.thread.again",
            count=thread.count,
            first=self._time(thread.first_at),
            last=self._time(thread.last_at),
        )

    def _time(self, moment: datetime) -> str:
        return local_time(moment.isoformat(), self.turn.timezone)


def _first(thread: Thread) -> Message:
    """The first message of a thread."""
    return Message(thread.text, thread.blocks)


def _bare(thread: Thread) -> str:
    """Its title without the sign of how it ended."""
    return re.sub(r"^\W+", "", _first(thread).title)
