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
from evaluation.metrics.units import ALL, IMAGE
from evaluation.metrics.values import ZERO_SHOT, ResultValue
from imaging.dicom.views import FRONTAL, LATERAL
from store.settings import check_bounds

if TYPE_CHECKING:
    from evaluation.predictions import Predictions

QUERY_LABELS = "query labels"  # the labels of zero-shot tasks
REGION_TABLE = "regions"  # masks, outlines or boxes
TRIPLET_TABLE = "triplets"  # what reports say, sentence by sentence
BY_STUDY = ", by study"  # the end of the name of a setting whose unit is the study
BY_DESCRIPTION = ", by description"  # the end of the name of a setting that asks by description
OF_VIEW = {FRONTAL: "", LATERAL: ", lateral images", ALL: ", all views"}  # the end of the name of a setting by its view
NAME, DESCRIPTION = ASKED = "name", "description"  # what a method of names asks for a finding with
NEVER, ONCE, BOTH = "never", "once", "both"  # whether a task trains, and whether with a frozen and a tuned encoder


@dataclass(frozen=True)
class Setting:
    """How much a task may learn from labels, and what it scores."""

    fraction: float | None = None  # of the train patients; None: nothing is learnt
    tuned: bool = False  # whether the image encoder learns too
    repeat: int = 0  # which patients, in which order, from which new layers
    unit: str = IMAGE  # of evaluation.metrics.units.UNITS: what has one score
    ask: str = NAME  # of ASKED
    view: str = FRONTAL  # of evaluation.metrics.units.VIEWS: the images that it learns from and scores

    @property
    def name(self) -> str:
        """As results call it."""
        learnt = ZERO_SHOT if self.fraction is None else f"{100 * self.fraction:g} %"
        asked = BY_DESCRIPTION * (self.ask != NAME)
        return "".join([learnt, ", tuned" * self.tuned, BY_STUDY * (self.unit != IMAGE), asked, OF_VIEW[self.view]])

    @property
    def is_usual(self) -> bool:
        """Whether numbers of a task with it need no other name than the task's: zero-shot, by frontal image."""
        return self.name == ZERO_SHOT


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
    asks: ClassVar[bool] = False  # whether a finding can be asked for by its description
    only_images: ClassVar[str] = ""  # a sentence: why it scores images whatever the unit; empty: it scores studies, too

    @abstractmethod
    def score(self, predictions: Predictions, setting: Setting, settings: Any) -> Sequence[ResultValue]:
        """The numbers; none where the dataset has nothing to score on.

        `settings` is an object of the task's dataclass. NotAvailableError where the method cannot do the task.
        """

    def repeated_settings(
        self, fractions: Sequence[float], repeats: int, unit: str = IMAGE, ask: str = NAME, view: str = FRONTAL
    ) -> Iterator[Setting]:
        """Everything that it is evaluated with; the `unit` is the image where a study has no meaning."""
        unit = IMAGE if self.only_images else unit
        if self.learning == NEVER:
            yield Setting(unit=unit, ask=ask if self.asks else NAME, view=view)
            return
        for repeat in range(repeats):
            for fraction in fractions:
                for tuned in (False, True) if self.learning == BOTH else (False,):
                    yield Setting(fraction, tuned, repeat, unit, view=view)

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

    def digest_inputs(self, settings: Any) -> str:
        """Digest of the files that `settings` name; empty where they name none."""
        return ""

    @classmethod
    def description(cls) -> str:
        """What the task measures, in one sentence."""
        return " ".join((cls.__doc__ or "").split("\n\n")[0].split())
