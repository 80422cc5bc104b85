"""The routes: the page, `/images` to hold a radiograph, `/predict` to score findings in one."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from radalign.errors import RadalignError
from radalign.serving.answers import LONGEST_FINDING, MOST_FINDINGS, Answer, HeldImage, Problem, Question, Server
from radalign.serving.films import Film
from radalign.serving.guard import JSON
from radalign.serving.problems import KEPT_NOWHERE, add_problems, as_json, sentence_of_parameter
from radalign.serving.service import Service, Times, describe_film, expect_findings
from radalign.serving.uploads import Place, TooLargeError, Upload

IMAGES = ("application/octet-stream", "application/dicom", "image/jpeg", "image/png")
POSTED = (JSON, *IMAGES)
SECONDS_TO_SEND = 120.0
NONE: list[str] = []
Texts = Annotated[list[str], Query()]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
PAGES = {"/": "reader.html", "/programs": "programs.html"}
ASSETS = {
    "/reader.css": "text/css", "/reader.js": "text/javascript", "/viewer.js": "text/javascript",
    "/findings.js": "text/javascript", "/colours.js": "text/javascript",
}  # fmt: skip
BINARY = {"schema": {"type": "string", "format": "binary"}}
FILE: dict[str, Any] = {
    "requestBody": {
        "description": "The bytes of a DICOM, JPG or PNG file.", "required": True,
        "content": dict.fromkeys(IMAGES, BINARY),
    }
}  # fmt: skip
FILE_OR_QUESTION: dict[str, Any] = {
    "requestBody": {
        "description": "The bytes of a file, JSON, or nothing where `image` names one that is held.",
        "content": {
            **dict.fromkeys(IMAGES, BINARY),
            JSON: {"schema": {"$ref": "#/components/schemas/Question"}},
        },
    }
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "No such image or model."},
    413: {"model": Problem, "description": "The image has too many bytes."},
    422: {"model": Problem, "description": "The image cannot be read, or the question is wrong."},
    503: {"model": Problem, "description": "Too much is under way, or this machine failed: ask again."},
}


def build_app(service: Service) -> FastAPI:
    """The application of a service."""
    app = FastAPI(
        title="Radalign reader", version="1", docs_url=None, redoc_url=None, redirect_slashes=False,
        description="Scores and locates findings in a chest radiograph. Not a medical device. For research only.",
    )  # fmt: skip
    _add_pages(app)
    _add_images(app, service)
    _add_predict(app, service)
    add_problems(app)
    return app


def _add_pages(app: FastAPI) -> None:
    folder = files("radalign.serving") / "page"
    kinds = dict.fromkeys(PAGES, "text/html") | ASSETS
    for path, kind in kinds.items():
        content = (folder / PAGES.get(path, path[1:])).read_bytes()
        app.add_api_route(path, _page(content, kind), methods=["GET", "HEAD"], include_in_schema=False)


def _page(content: bytes, kind: str) -> Any:
    headers = {"content-security-policy": POLICY, "cache-control": "no-cache"}

    def show() -> Response:
        return Response(content, media_type=kind, headers=headers)

    return show


def _add_images(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    def health() -> dict[str, str]:
        """Whether the models are loaded: this answers once they are."""
        return {"status": "ready"}

    @app.get("/models", response_model=Server)
    def models() -> Response:
        """The models, and the limits."""
        return as_json(service.describe())

    @app.post("/images", status_code=201, response_model=HeldImage, responses=RESPONSES, openapi_extra=FILE)
    async def hold(request: Request) -> Response:
        """Decode a radiograph and hold it in memory, so that it can be shown and asked about several times.

        At most 16 are held, each for half an hour after it was last asked for.
        """
        times = Times()
        async with service.room.place() as place:
            film = await _read_film(request, service, place, times, shown=True)
        assert film.shown is not None
        rows, columns = film.shown.shape
        facts = describe_film(film).model_dump()
        held = HeldImage(**facts, image=service.films.hold(film), shown_height=rows, shown_width=columns)
        return as_json(held, times, 201)

    @app.get("/images/{image}/pixels", response_class=Response, responses=RESPONSES)
    def pixels(image: str) -> Response:
        """Grey levels of a held radiograph: shown_height x shown_width bytes, row by row."""
        film = service.films.find(image)
        assert film.shown is not None
        return Response(film.shown.tobytes(), media_type=IMAGES[0], headers=KEPT_NOWHERE)

    @app.delete("/images/{image}", status_code=204)
    def release(image: str) -> None:
        """Let a radiograph go."""
        service.films.release(image)


def _add_predict(app: FastAPI, service: Service) -> None:
    @app.post("/predict", response_model=Answer, responses=RESPONSES, openapi_extra=FILE_OR_QUESTION)
    async def predict(
        request: Request,
        findings: Texts = NONE,
        model: Texts = NONE,
        maps: bool = False,
        image: str = "",
    ) -> Response:
        """Score findings in a radiograph: the one that is sent, or the held one that `image` names.

        `findings` and `model` can be repeated; without `model` all are asked. JSON is taken in the place of the
        parameters and the bytes.
        """
        times = Times()
        async with service.room.place() as place:
            question = Question.model_construct(findings=findings, models=model, maps=maps, image=image, content="")
            if request.headers.get("content-type", "").split(";")[0].strip() == JSON:
                question = await _read_question(request, place)
            asked = expect_findings(question.findings, MOST_FINDINGS, LONGEST_FINDING)
            if question.image:
                film = service.films.find(question.image)
            elif question.content:
                film = await _decode_text(question.content, service, place, times)
            else:
                film = await _read_film(request, service, place, times, shown=False)
            return as_json(await service.answer(film, asked, question.models, question.maps, times), times)

    app.openapi_schema = _describe(app)


def _describe(app: FastAPI) -> dict[str, Any]:
    schema = app.openapi()
    question = Question.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["components"]["schemas"]["Question"] = question
    return schema


async def _read_film(request: Request, service: Service, place: Place, times: Times, shown: bool) -> Film:
    with Upload() as upload:
        with times.of("receive"):
            await _receive(request, place, service.room.most_bytes, upload.write)
        if not upload.size:
            raise RadalignError("There is no image: send the bytes of a DICOM, JPG or PNG file.")
        return await service.decode(upload, shown, times)


async def _read_question(request: Request, place: Place) -> Question:
    most = place.most_bytes * 4 // 3 + (1 << 16)  # base64, and the findings
    body = bytearray()
    await _receive(request, place, most, body.extend)
    try:
        return await run_in_threadpool(Question.model_validate_json, body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise RadalignError(sentence_of_parameter(first)) from None


async def _decode_text(content: str, service: Service, place: Place, times: Times) -> Film:
    place.take(len(content))
    try:
        decoded = await run_in_threadpool(base64.b64decode, content, validate=True)
    except (binascii.Error, ValueError):
        raise RadalignError("`content` is no base64.") from None
    with Upload() as upload:
        upload.write(decoded)
        return await service.decode(upload, shown=False, times=times)


async def _receive(request: Request, place: Place, most: int, write: Callable[[bytes], object]) -> None:
    try:
        async with asyncio.timeout(SECONDS_TO_SEND):
            await place.receive(request.headers.get("content-length", ""), request.stream(), most, write)
    except TimeoutError:
        raise TooLargeError(f"The image was not sent within {SECONDS_TO_SEND:.0f} seconds.") from None
