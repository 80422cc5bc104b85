"""Errors as one sentence of JSON, and what is noted of those that nobody expected."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from imaging.errors import ImageError, MachineError
from radalign.errors import RadalignError
from radalign.serving.answers import Problem
from radalign.serving.films import GoneError
from radalign.serving.guard import JSON, Message, Receive, Send
from radalign.serving.uploads import FullError, TooLargeError

if TYPE_CHECKING:
    from radalign.serving.service import Times

KEPT_NOWHERE = {"cache-control": "no-store"}


def as_json(content: BaseModel, times: Times | None = None, status: int = 200) -> Response:
    """An answer as JSON, with the times of its steps."""
    headers = {**KEPT_NOWHERE, **({"server-timing": times.header} if times else {})}
    return Response(content.model_dump_json(), status, headers, JSON)


def add_problems(app: FastAPI) -> None:
    """Answer every error with a `Problem`."""
    statuses = {GoneError: 404, TooLargeError: 413, FullError: 503, RadalignError: 422}

    @app.exception_handler(RadalignError)
    def refuse(_: Request, error: RadalignError) -> Response:
        status = next(status for kind, status in statuses.items() if isinstance(error, kind))
        return as_json(Problem(problem=str(error)), status=status)

    @app.exception_handler(ImageError)
    def refuse_image(_: Request, error: ImageError) -> Response:
        return as_json(Problem(problem=f"The image cannot be read: {error.detail}", reason=error.reason), status=422)

    @app.exception_handler(MachineError)
    def fail(_: Request, __: MachineError) -> Response:
        sentence = "This machine failed while it read the image, which may be sound: send it again."
        return as_json(Problem(problem=sentence), status=503)

    @app.exception_handler(RequestValidationError)
    def refuse_parameters(_: Request, error: RequestValidationError) -> Response:
        return as_json(Problem(problem=sentence_of_parameter(error.errors()[0])), status=422)

    @app.exception_handler(HTTPException)
    def refuse_request(_: Request, error: HTTPException) -> Response:
        sentences = {404: "There is nothing at this address.", 405: "This address is not asked in this way."}
        problem = Problem(problem=sentences.get(error.status_code, str(error.detail)))
        return as_json(problem, status=error.status_code)

    @app.exception_handler(Exception)
    def apologise(_: Request, __: Exception) -> Response:
        sentence = "The server made a mistake, which it has noted without the image and the question; it goes on."
        return as_json(Problem(problem=sentence), status=500)


def sentence_of_parameter(error: Any) -> str:
    """What is wrong with a parameter, without its value; `error` is one of pydantic's."""
    place = ".".join(str(part) for part in error["loc"] if part not in ("query", "body"))
    return f"`{place or 'the body'}` is not as it should be: {error['msg'].lower()}."


class Discreet:
    """An ASGI application that notes of an unexpected error only its kind and its place in the code.

    The message of an error may quote what was asked or sent.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._application(scope, receive, sending)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:  # by the server, which ends
            if not started:
                await as_json(Problem(problem="The server is ending."), status=503)(scope, receive, send)
        except Exception as error:
            sys.stderr.write(f"radalign: a request failed with {type(error).__name__} {_place(error)}\n")
            sys.stderr.flush()


def _place(error: BaseException) -> str:
    at = error.__traceback__
    while at and at.tb_next:
        at = at.tb_next
    return f"in {at.tb_frame.f_code.co_filename}, line {at.tb_lineno}" if at else ""
