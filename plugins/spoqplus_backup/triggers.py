"""What waits without a worker: triggers, which run in Airflow's triggerer and begin again wherever that restarts."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from spoqplus_backup.core.dr.rds import Instance, Waiting
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.hooks import AirflowConnections


class RdsPromotedTrigger(BaseTrigger):
    """Waits until an RDS instance is a server of its own and available, and asks for a promotion that RDS refused.

    It knows all that it needs by its arguments, so a triggerer that starts anew goes on, with the same deadline; the
    provider's own `RdsDbAvailableTrigger` does not fit, as a replica is available before and during its promotion.

    :param connection: the id of the Amazon connection.
    :param region: where the instance is.
    :param identifier: the instance.
    :param asks: how a promotion is asked for; None: it is not.
    :param deadline: seconds of `time.time`.
    :param poll_seconds: between two looks.
    :param asked: given back in the event.
    """

    def __init__(
        self,
        *,
        connection: str,
        region: str,
        identifier: str,
        asks: Mapping[str, Any] | None,
        deadline: float,
        poll_seconds: float,
        asked: Mapping[str, Any],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.connection = connection
        self.region = region
        self.waiting = Waiting(identifier, asks)
        self.deadline = deadline
        self.poll_seconds = poll_seconds
        self.asked = dict(asked)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class, and what makes another like this."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "connection": self.connection,
            "region": self.region,
            "identifier": self.waiting.identifier,
            "asks": dict(self.waiting.asks) if self.waiting.asks is not None else None,
            "deadline": self.deadline,
            "poll_seconds": self.poll_seconds,
            "asked": self.asked,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: `done`, `failed` (no retry helps), or `late`. The task has just looked, so a pause comes first."""
        while True:
            await asyncio.sleep(self.poll_seconds)
            try:
                instance = await asyncio.to_thread(self.look)
            except PermanentError as error:
                yield self.event("failed", str(error))
                return
            except BackupError as error:  # throttled, or AWS is out of order for a moment
                self.log.warning("%s", error)
                instance = None
            if instance is not None:
                yield self.event("done", instance.identifier)
                return
            if time.time() > self.deadline:
                yield self.event("late", self.waiting.identifier)
                return

    def look(self) -> Instance | None:
        """Look once; blocks, so it runs in a thread."""
        return self.waiting.look(AirflowConnections().aws_client(self.connection, "rds", self.region))

    def event(self, status: str, words: str) -> TriggerEvent:
        """What the task is woken with."""
        return TriggerEvent(  # type: ignore[no-untyped-call]
            {"status": status, "message": words, "asked": self.asked}
        )
