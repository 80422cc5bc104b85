"""The base class of downstream tasks.

A task is one file of this folder with one class in it. The file owns everything about the task: its settings, the
datasets and labels it needs, what it needs of a network, its scores, the metric that stands for it, what chose its
settings and the names of its figures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from evaluation.errors import EvaluationError
from evaluation.metrics.values import ZERO_SHOT, ResultValue
from store.settings import check_bounds

if TYPE_CHECKING:
    from evaluation.predictions import Predictions

QUERY_LABELS = "query labels"  # the labels of zero-shot tasks
REGION_TABLE = "regions"  # masks, outlines or boxes
TRIPLET_TABLE = "triplets"  # what reports say, sentence by sentence
NEVER, ONCE, BOTH = "never", "once", "both"  # whether a task trains, and whether with a frozen and a tuned encoder


@dataclass(frozen=True)
class Setting:
    """How much a task may learn from labels."""

    fraction: float | None = None  # of the train patients; None: nothing is learnt
    tuned: bool = False  # whether the image encoder learns too
    repeat: int = 0  # which patients, in which order, from which new layers

    @property
    def name(self) -> str:
        """As results call it."""
        if self.fraction is None:
            return ZERO_SHOT
        return f"{100 * self.fraction:g} %{', tuned' if self.tuned else ''}"


class Task(ABC):
    """A downstream task. The first paragraph of a subclass's docstring is its description."""

    name: ClassVar[str]  # that of its file
    purpose: ClassVar[str]  # of cohorts.dataset.PURPOSES: datasets with annotations for it have the task
    leading: ClassVar[str]  # the metric that stands for it
    selection: ClassVar[str]  # a sentence: what chose the settings behind its numbers
    on_pretraining_cohort: ClassVar[bool] = False
    learning: ClassVar[str] = NEVER
    reads: ClassVar[tuple[str, ...]] = ()  # of the dataset, beside the shards
    settings: ClassVar[type | None] = None  # dataclass of store.settings
    settings_of: ClassVar[str] = ""  # the task whose settings it shares; empty: its own
    figures: ClassVar[tuple[str, ...]] = ()  # names in evaluation.figures

    @abstractmethod
    def score(self, predictions: Predictions, setting: Setting, settings: Any) -> Sequence[ResultValue]:
        """The numbers; none where the dataset has nothing to score on.

        `settings` is an object of the task's dataclass. NotAvailableError where the method cannot do the task.
        """

    def repeated_settings(self, fractions: Sequence[float], repeats: int) -> Iterator[Setting]:
        """Everything that it is evaluated with."""
        if self.learning == NEVER:
            yield Setting()
            return
        for repeat in range(repeats):
            for fraction in fractions:
                for tuned in (False, True) if self.learning == BOTH else (False,):
                    yield Setting(fraction, tuned, repeat)

    def read_settings(self, options: Mapping[str, Mapping[str, Any]]) -> Any:
        """Its settings, of options by task, over its defaults; None where it has none."""
        given = dict(options.get(self.settings_of or self.name, {}))
        if self.settings is None:
            if given:
                raise EvaluationError(f"The task {self.name} has no settings, but {min(given)} was given.")
            return None
        known = self.settings.__dataclass_fields__  # type: ignore[attr-defined]
        if unknown := set(given) - set(known):
            raise EvaluationError(f"The task {self.name} has no setting `{min(unknown)}`; it has {', '.join(known)}.")
        settings = self.settings(**given)
        try:
            check_bounds(settings)
        except ValueError as error:
            raise EvaluationError(f"The setting of the task {self.name} cannot be used: {error}") from None
        return settings

    @classmethod
    def description(cls) -> str:
        """What the task measures, in one sentence."""
        return " ".join((cls.__doc__ or "").split("\n\n")[0].split())
