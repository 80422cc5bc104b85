"""Lets only the user's own page talk to a server on this machine that has no login.

A browser sends what any page asks of it to 127.0.0.1 as well. It says, however, which name the page used (`Host`, which
unmasks a foreign name that points here) and which page asks (`Origin` and `Sec-Fetch-Site`). Programs send neither of
the last two: they are the user's own.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

import uvicorn
from starlette.responses import PlainTextResponse

HOST = "127.0.0.1"
ADDRESS_VARIABLE = "RADALIGN_LISTEN"  # the address to listen on in a container, whose port is published on HOST alone
NAMES = (HOST, "localhost")
STOP_SECONDS = 3  # for answers under way when the server is asked to stop

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

READING = {"GET", "HEAD"}
WRITING = {"POST", "PUT", "PATCH", "DELETE"}
JSON = "application/json"
ASKED_HERE = {"same-origin", "none"}  # by a page of this server, or by the user in the address bar
A_LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
OVERRIDES = {"x-http-method", "x-http-method-override", "x-method-override"}
ONCE = ("host", "origin", "content-type", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")
PROTECTION = {
    "content-security-policy": "frame-ancestors 'self'",  # in addition to the page's own policy
    "x-frame-options": "SAMEORIGIN",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class Guard:
    """An ASGI application in front of another one; what is not the user's own is refused with one sentence."""

    def __init__(self, application: Application, port: int, pages: str, posted: Collection[str] = (JSON,)) -> None:
        """`pages` matches the paths that hold no data of their own, so that links from elsewhere may lead there.

        `posted` are the content types of what may be posted. No page of another origin can send them unasked.
        """
        self._application = application
        self._posted = posted
        self._hosts = {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == 80 else set())
        self._pages = re.compile(pages)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request or a websocket."""
        fault = self._fault(scope)
        if fault is None:
            await self._application(scope, receive, _protecting(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": fault})
        else:
            await PlainTextResponse(fault, 403, {"connection": "close"})(scope, receive, _protecting(send))

    def _fault(self, scope: Message) -> str | None:
        """Why the request is refused, in one sentence."""
        pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        headers = dict(pairs)
        if any(sum(name == once for name, _ in pairs) > 1 for once in ONCE) or OVERRIDES & set(headers):
            return "The request contradicts itself: a header is there twice, or would replace the method."
        if not scope["path"].startswith("/"):
            return "The request names another server in its first line."
        if headers.get("host") not in self._hosts:
            return f"This server answers only to {' and '.join(sorted(self._hosts))}."
        if headers.get("origin", f"http://{headers['host']}") != f"http://{headers['host']}":
            return "Pages of another origin are not answered."
        if headers.get("sec-fetch-site", "none") not in ASKED_HERE and not self._is_link(scope, headers):
            return "Pages of another origin are not answered."
        if scope["type"] == "websocket":
            return None
        if scope["method"] not in READING | WRITING:
            return f"The method {scope['method']} is not used here."
        if scope["method"] == "POST" and headers.get("content-type", "").split(";")[0].strip() not in self._posted:
            return f"What is posted here has the content type {' or '.join(self._posted)}."
        return None

    def _is_link(self, scope: Message, headers: dict[str, str]) -> bool:
        """A link from elsewhere that the user follows; the page that holds it cannot read the answer."""
        follows = all(headers.get(name) == value for name, value in A_LINK.items())
        return scope.get("method") in READING and follows and self._pages.fullmatch(scope["path"]) is not None


def serve(application: Application, port: int, pages: str) -> None:
    """Serve an application behind a guard, on this machine only, until the process is asked to stop."""
    server = uvicorn.Server(configure(Guard(application, port, pages), port))
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:  # the error is logged
        sys.exit(1)


def configure(application: Guard, port: int) -> uvicorn.Config:
    """How a guarded application is served: on this machine only, and no request is logged."""
    return uvicorn.Config(
        application,
        host=os.environ.get(ADDRESS_VARIABLE) or HOST,
        port=port,
        http="h11",  # strict, and shows the first line of a request as it came
        proxy_headers=False,  # whoever asks is on this machine
        server_header=False,
        lifespan="off",
        access_log=False,
        log_level="error",
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def _protecting(send: Send) -> Send:
    """Add the headers that keep pages of another origin from framing, opening or loading an answer."""

    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            kept = [pair for pair in message.get("headers", ()) if not _replaced(pair[0])]
            message["headers"] = kept + [(name.encode(), value.encode()) for name, value in PROTECTION.items()]
        await send(message)

    return sending


def _replaced(name: bytes) -> bool:
    """Permissions for other origins go, and so do weaker headers of the same name, except policies, which add up."""
    lower = name.decode("latin-1").lower()
    return lower.startswith("access-control-") or (lower in PROTECTION and lower != "content-security-policy")
