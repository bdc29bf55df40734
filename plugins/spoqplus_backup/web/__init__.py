"""What Airflow's API server serves for us. Every address wants a user who may read the DAG that it is about."""

from collections.abc import Awaitable, Callable
from typing import Any

PREFIX = "/spoqplus"
PAGE_ROUTE = "backups"  # of the Backups page in Airflow's own UI: `/plugin/backups`

Application = Callable[[Any, Any, Any], Awaitable[None]]


class Lazy:
    """An ASGI application that is made by its first request: every task loads the plugin, and needs no web server."""

    def __init__(self, make: Callable[[], Application]) -> None:
        self._make = make
        self._made: Application | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if self._made is None:
            self._made = self._make()
        await self._made(scope, receive, send)
