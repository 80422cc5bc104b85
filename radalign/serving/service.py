"""What the routes share: the models, the decoders, the films that are held, and how long each step took."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

from cohorts import registry
from radalign.errors import RadalignError
from radalign.model import Model
from radalign.serving.answers import Answer, ImageFacts, ModelAnswer, Server
from radalign.serving.decoding import Decoder
from radalign.serving.films import Film, GoneError, HeldFilms
from radalign.serving.scoring import ServedModel, name_models
from radalign.serving.uploads import MOST_BYTES, Room, Upload

Result = TypeVar("Result")
LABELLED = ("chexpert", "chestxray14")


@dataclass
class Times:
    """Seconds of the steps of a request, by name."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Time a step."""
        start = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - start

    @property
    def header(self) -> str:
        """As the header Server-Timing has them, in milliseconds."""
        return ", ".join(f"{step};dur={1000 * taken:.1f}" for step, taken in self.seconds.items())


class Service:
    """Everything that answers need. Close it when done."""

    def __init__(self, models: Sequence[Model], most_bytes: int = MOST_BYTES) -> None:
        """Loads the networks and starts the decoders."""
        self.models = {name: ServedModel(model, name) for model, name in zip(models, name_models(models), strict=True)}
        self._order = list(self.models)
        self.decoder = Decoder([model.card for model in models])
        self.decoder.warm_up()
        self.films, self.room = HeldFilms(), Room(most_bytes)
        self.working = 0  # threads that decode or compute now
        self._counting = threading.Lock()

    def describe(self) -> Server:
        """What is served."""
        return Server(
            models=[model.facts for model in self.models.values()],
            suggestions=suggest_findings(),
            most_bytes=self.room.most_bytes,
        )

    def close(self) -> None:
        """End the decoders."""
        self.decoder.close()

    async def decode(self, upload: Upload, shown: bool, times: Times) -> Film:
        """The radiograph in an upload."""
        with times.of("decode"):
            return await self._run(self.decoder.decode, upload, shown)

    async def answer(
        self, film: Film, findings: Sequence[str], names: Sequence[str], maps: bool, times: Times
    ) -> Answer:
        """What the models of these names say, or all of them."""
        chosen = [self._find(name) for name in dict.fromkeys(names)] or list(self.models.values())
        found = await asyncio.gather(*(self._score(model, film, findings, maps, times) for model in chosen))
        return Answer(image=describe_film(film), models=list(found))

    async def _score(
        self, model: ServedModel, film: Film, findings: Sequence[str], maps: bool, times: Times
    ) -> ModelAnswer:
        found = await self._run(model.score, film, self._order.index(model.name), findings, maps)
        times.seconds[f"wait-{model.name}"] = found.waited
        times.seconds[f"network-{model.name}"] = found.took
        return found.answer

    async def _run(self, work: Callable[..., Result], *given: Any) -> Result:
        """Work in a thread, counted until it is done, also where nobody waits for it any longer."""

        def counted() -> Result:
            try:
                return work(*given)
            finally:
                self._count(-1)

        self._count(1)
        return await run_in_threadpool(counted)

    def _count(self, change: int) -> None:
        with self._counting:
            self.working += change

    def _find(self, name: str) -> ServedModel:
        if name not in self.models:
            raise GoneError(f"There is no model of that name here; there is {' and '.join(self.models)}.")
        return self.models[name]


def suggest_findings() -> list[str]:
    """Findings that large datasets label, in words."""
    named = [label for name in LABELLED for label in registry.dataset(name).classes]
    return sorted({label.replace("_", " ").lower() for label in named})


def describe_film(film: Film) -> ImageFacts:
    """What is told of a radiograph."""
    return ImageFacts(
        height=film.height,
        width=film.width,
        display=film.display,
        display_fallback=film.display_fallback,
        attributes=film.facts,
    )


def expect_findings(given: Sequence[str], most: int, longest: int) -> list[str]:
    """The findings without blanks at their ends, each once; RadalignError where there are none or too many."""
    findings = list(dict.fromkeys(text for one in given if (text := " ".join(one.split()))))
    if not findings:
        raise RadalignError("There is no finding: name at least one.")
    if len(findings) > most:
        raise RadalignError(f"There are {len(findings)} findings: {most} at most are scored at once.")
    if any(len(text) > longest for text in findings):
        raise RadalignError(f"A finding has more than {longest} letters.")
    return findings
