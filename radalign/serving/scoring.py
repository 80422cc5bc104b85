"""A loaded network that answers requests one after the other: scores and maps of findings in an image."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from imaging.letterbox import letterbox
from radalign.errors import RadalignError
from radalign.model import Model
from radalign.placing import Extent, cut_margin, place_map
from radalign.serving.answers import Calibrated, FindingAnswer, HeatMap, ModelAnswer, ModelFacts
from radalign.serving.calibration import Curve, key_of, read_curves
from radalign.serving.films import Film
from radalign.serving.texts import remember_texts

WARM = ("pleural effusion", "pneumothorax")
DIGITS = 6  # of a score
NO_NUMBER = "The network gave no number for it."


@dataclass(frozen=True)
class Timed:
    """An answer, and the seconds that it waited for the network and that the network took."""

    answer: ModelAnswer
    waited: float
    took: float


class ServedModel:
    """A model under the name by which it is asked for."""

    def __init__(self, model: Model, name: str) -> None:
        """Loads the network; RadalignError where it cannot be loaded or cannot classify."""
        self.model, self.name = model, name
        self._lock = threading.Lock()
        self.curves = read_curves(model)
        remember_texts(model.network)
        model.network.to(memory_format=torch.channels_last)  # a tenth faster on a CPU
        self.facts = ModelFacts(
            model=name,
            method=model.card.method,
            run=model.folder.resolve().name,
            weights=model.weights,
            digest=model.digest,
            released=bool(model.card.released),
            knows="names" if model.network.query_kind == "entity" else "texts",
            calibrated=sorted(self.curves),
        )
        self._warm_up()

    def score(self, film: Film, number: int, findings: Sequence[str], maps: bool) -> Timed:
        """What the model says of a film, whose input of this `number` was decoded for it; each finding has a row."""
        pixels = film.inputs[number]
        asked: dict[int, tuple[str, str]] = {}
        rows: dict[int, FindingAnswer] = {}
        for row, finding in enumerate(findings):
            try:
                asked[row] = self.model.understand(finding)
            except RadalignError as error:
                rows[row] = FindingAnswer(finding=finding, score=None, problem=str(error))
        start = time.perf_counter()
        with self._lock:
            begun = time.perf_counter()
            found = self._ask(pixels, {row: query for row, (query, _) in asked.items()})
            ended = time.perf_counter()
        extent = self._place(film, pixels) if maps else None
        for row, (_, doubt) in asked.items():
            rows[row] = self._row(findings[row], found[row], doubt, extent)
        answer = ModelAnswer(
            model=self.name,
            method=self.facts.method,
            digest=self.facts.digest,
            findings=[rows[row] for row in range(len(findings))],
        )
        return Timed(answer, begun - start, ended - begun)

    def _place(self, film: Film, pixels: np.ndarray) -> Extent:
        card = self.model.card
        shape = (pixels.shape[0], pixels.shape[1]) if card.released else (film.height, film.width)
        return place_map(self.model.network, card, shape, film.inner)

    def _ask(self, pixels: np.ndarray, queries: dict[int, str]) -> dict[int, tuple[float, np.ndarray] | str]:
        """Score and map of each query, or a sentence that says why there are none."""
        if not queries:
            return {}
        try:
            scores, maps = self.model.ask(pixels, list(queries.values()))
        except RadalignError as error:
            if len(queries) == 1:
                return dict.fromkeys(queries, str(error))
            return {number: self._ask(pixels, {number: query})[number] for number, query in queries.items()}
        return {number: (float(scores[0, column]), maps[0, column]) for column, number in enumerate(queries)}

    def _row(
        self, finding: str, found: tuple[float, np.ndarray] | str, doubt: str, extent: Extent | None
    ) -> FindingAnswer:
        if isinstance(found, str):
            return FindingAnswer(finding=finding, score=None, warning=doubt, problem=found)
        score, located = found
        if not np.isfinite(score):
            return FindingAnswer(finding=finding, score=None, warning=doubt, problem=NO_NUMBER)
        curve = self.curves.get(key_of(finding))
        calibrated = describe_probability(curve, score) if curve else None
        heat = describe_map(located, extent) if extent else None
        return FindingAnswer(
            finding=finding, score=round(score, DIGITS), calibrated=calibrated, warning=doubt, map=heat
        )

    def _warm_up(self) -> None:
        """The first answer of a network takes long, and tells whether it can answer at all."""
        ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
        card = self.model.card
        pixels = ramp if card.released else letterbox(ramp, card.shard_size or card.size)
        film = Film(len(ramp), len(ramp), {}, (pixels,))
        for _ in range(2):
            answer = self.score(film, 0, WARM, maps=True).answer
        problems = {row.problem for row in answer.findings}
        if "" not in problems and "is not known" not in "".join(problems):
            raise RadalignError(f"{self.model.folder} cannot be served: {problems.pop()}")


def name_models(models: Sequence[Model]) -> list[str]:
    """A name for each: that of its method, with a number where two are of the same."""
    names: list[str] = []
    for model in models:
        method = model.card.method
        number = sum(name.partition("-")[0] == method for name in names) + 1
        names.append(method if number == 1 else f"{method}-{number}")
    return names


def describe_probability(curve: Curve, score: float) -> Calibrated:
    """A calibrated score, and what it was calibrated on."""
    probability = round(curve.probability(score), DIGITS)
    return Calibrated(probability=probability, data=curve.data, images=curve.images, positives=curve.positives)


def describe_map(located: np.ndarray, extent: Extent) -> HeatMap:
    """A map (rows, columns) as 8-bit levels from its least to its greatest value; what is not finite is the least.

    A margin of zeros, which the network did not see, is cut off.
    """
    located, extent = cut_margin(located, extent)
    known = np.isfinite(located)
    least, greatest = (float(located[known].min()), float(located[known].max())) if known.any() else (0.0, 0.0)
    spread = greatest - least
    shares = np.where(known, located - least, 0) / spread if spread > 0 else np.zeros(located.shape)
    levels = np.rint(255 * shares).astype(np.uint8)
    return HeatMap(
        rows=located.shape[0],
        columns=located.shape[1],
        least=least,
        greatest=greatest,
        levels=base64.b64encode(levels.tobytes()).decode(),
        left=extent.left,
        top=extent.top,
        width=extent.width,
        height=extent.height,
    )
