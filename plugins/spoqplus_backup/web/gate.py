"""Lets in who is logged in at Airflow, and nobody else: whatever the address, also one that does not exist.

It stands before the application, so that a route which is added later is behind it too.
"""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders

Application = Callable[[Any, Any, Any], Awaitable[None]]
Message = MutableMapping[str, Any]

# What a response says unless it says something else itself: all there is comes from here, and is for one person.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'self'; base-uri 'none'; "
    "form-action 'self'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}


class Gate:
    """An ASGI application in front of another one.

    Args:
        app: what is behind.
        open_paths: below the application's root: these have a lock of their own.
    """

    def __init__(self, app: Application, open_paths: Collection[str] = ()) -> None:
        self._app = app
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].removeprefix(scope.get("root_path", "")) not in self._open:
            request = Request(scope, receive)
            try:
                await get_user(request, None, await bearer_scheme(request))
            except HTTPException as error:
                await JSONResponse({"detail": error.detail}, error.status_code)(scope, receive, _with_headers(send))
                return
        await self._app(scope, receive, _with_headers(send))


def _with_headers(send: Callable[[Message], Awaitable[None]]) -> Callable[[Message], Awaitable[None]]:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
