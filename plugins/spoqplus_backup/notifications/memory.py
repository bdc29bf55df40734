"""What is remembered between the runs of a DAG: which messages in Slack are still open.

It stands in an Airflow Variable for each DAG, which survives restarts and is there for every worker. A DAG has one run
at a time, so that nobody else writes it; were there two, the last one would win, and a count would be short by one.
What can't be read or written costs a message too many, never one too few.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from airflow.sdk import Variable
from pydantic import TypeAdapter, ValidationError

log = logging.getLogger(__name__)

MOST_THREADS = 8


@dataclass
class Thread:
    """A conversation about one thing that is wrong, or about one run.

    `cause` is the thing's digest, None for a run's. `channel` and `ts` are the first message's place in Slack, None
    with a webhook or when it could not be sent; `asked_channel` is the setting then; `text` and `blocks` are what it
    says. `told_at` is when the channel last saw something of it.
    """

    first_at: datetime
    last_at: datetime
    cause: str | None = None
    count: int = 0
    runs: list[str] = field(default_factory=list)
    told_at: datetime | None = None
    asked_channel: str | None = None
    channel: str | None = None
    ts: str | None = None
    text: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)


_THREADS: TypeAdapter[list[Thread]] = TypeAdapter(list[Thread])


class Memory(Protocol):
    """Where the threads of a DAG are kept."""

    def threads(self) -> list[Thread]:
        """Those that are open."""

    def keep(self, threads: Sequence[Thread]) -> None:
        """Replace them."""


class VariableMemory:
    """An Airflow Variable; it is deleted when nothing is open."""

    def __init__(self, dag_id: str) -> None:
        self.key = f"slack_threads.{dag_id}"
        self._found: str | None = None

    def threads(self) -> list[Thread]:
        """Those that are open; none when they can't be read."""
        try:
            self._found = Variable.get(self.key, default=None)
            return _THREADS.validate_json(self._found) if self._found else []
        except ValidationError as error:
            log.warning("The Variable %s holds something else (%d errors): begun anew.", self.key, error.error_count())
        except Exception as error:  # noqa: BLE001 (a secrets backend may raise anything)
            log.warning("The Variable %s can't be read (%s): begun anew.", self.key, type(error).__name__)
        return []

    def keep(self, threads: Sequence[Thread]) -> None:
        """Write them, the newest only."""
        newest = sorted(threads, key=lambda thread: thread.last_at)[-MOST_THREADS:]
        value = _THREADS.dump_json(newest).decode() if newest else None
        if value == self._found:
            return
        try:
            if value is None:
                Variable.delete(self.key)
            else:
                Variable.set(self.key, value, description="Open threads in Slack; may be deleted.")
        except Exception as error:  # noqa: BLE001
            kind = type(error).__name__
            log.warning("The Variable %s can't be written (%s): a message may come twice.", self.key, kind)
