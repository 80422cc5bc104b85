"""The first lines of every summary: what was trained, on what, how long, and its AUROC beside the untrained network's.

All texts fit a terminal of WIDTH columns.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cohorts.subsets import FRACTIONS
from evaluation.metrics.units import IMAGE, UNITS
from evaluation.metrics.values import MACRO
from evaluation.results.markdown import escape_markdown
from evaluation.results.summary import UNTRAINED, Row, summarise_rows
from evaluation.results.text_tables import WIDTH, align, as_markdown, format_value
from evaluation.results.trainings import Pretraining, Training
from evaluation.tasks.base import BY_STUDY, Setting

METRIC = "auroc"
ZERO_SHOT_NUMBER = "zero-shot AUROC"
PLACES = tuple(  # of the number that stands for a training: the first that was measured on its own cohort
    (number + BY_STUDY * (unit != IMAGE), task, Setting(share, unit=unit).name)
    for unit in UNITS
    for number, task, share in (
        (ZERO_SHOT_NUMBER, "zero_shot_classification", None),
        *(
            (f"linear probe AUROC, {Setting(share).name} of the labels", "linear_probe", share)
            for share in sorted(FRACTIONS, reverse=True)
        ),
    )
)
CHANGED, PROBED, STUDIED = "*", " (probe)", " (by study)"


@dataclass(frozen=True)
class Headline:
    """A training and the number that stands for it."""

    pretraining: Pretraining
    training: Training
    number: str = ""  # which one: zero-shot AUROC
    trained: str = ""
    untrained: str = ""
    dataset: str = ""  # that the number is on, where the training was on several

    @property
    def is_zero_shot(self) -> bool:
        """Whether the number is that of a zero-shot classification."""
        return self.number.startswith(ZERO_SHOT_NUMBER)

    @property
    def about(self) -> str:
        """What was trained, on what, how long, and when."""
        training = self.training
        how_long = f" in {training.duration}" if training.duration else ""
        made = "imported beside" if training.imported else "pretrained on"
        what = f"{training.name}, {made} {self.pretraining.title}{how_long}"
        return ", ".join(filter(None, (what, training.date, training.preset_text)))

    @property
    def numbers(self) -> str:
        """The number, of the trained and of the untrained network."""
        if not self.trained:
            return f"no AUROC on {self.pretraining.cohort} yet: `radalign evaluate {self.training.run.method}`"
        untrained = f", untrained {self.untrained}" if self.untrained else ""
        where = f" on {self.dataset}" if self.dataset else ""
        return f"{self.number}{where} {self.trained}{untrained}"

    def lines(self) -> list[str]:
        """Both as lines for the terminal."""
        return [
            *textwrap.wrap(self.about, WIDTH, subsequent_indent="    ", break_long_words=False),
            *textwrap.wrap(self.numbers, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False),
        ]


def make_headline(pretraining: Pretraining, training: Training, rows: Iterable[Row]) -> Headline:
    """The headline of a training; `rows` are results of any networks. Without a number it says why there is none."""
    run = training.run
    scored = [row for row in rows if (row["metric"], row["class"]) == (METRIC, MACRO)]
    datasets = [name for name in pretraining.datasets if any(row["cohort"] == name for row in scored)]
    dataset = next(iter(datasets), "")
    own = [row for row in scored if row["cohort"] == dataset]
    shown = dataset if len(pretraining.datasets) > 1 else ""
    found: list[Headline] = []
    for number, task, setting in PLACES:
        here = [row for row in own if (row["task"], row["setting"]) == (task, setting) and row["seed"] == run.seed]
        trained = [row for row in here if (row["method"], row["checkpoint"]) == (run.name, run.checkpoint_digest)]
        raw = (UNTRAINED + run.name, run.untrained_digest)
        untrained = [row for row in here if (row["method"], row["checkpoint"]) == raw]
        if trained:
            found.append(Headline(pretraining, training, number, format_value(trained), _text(untrained), shown))
            if any(row["value"] is not None for row in trained):
                return found[-1]
    return found[0] if found else Headline(pretraining, training)


def _text(rows: Sequence[Row]) -> str:
    return format_value(rows) if rows and summarise_rows(rows).value is not None else ""


def summarise_as_markdown(found: Sequence[tuple[Pretraining, pa.Table]]) -> str:
    """A headline for each cohort that networks were pretrained on, then for each its own tables.

    They have the numbers of its networks on the cohort itself.
    """
    newest = [make_headline(one, one.trainings[0], rows.to_pylist()) for one, rows in found]
    parts = ["\n".join(f"- {escape_markdown(one.about)}: {one.numbers}" for one in newest)]
    for pretraining, rows in found:
        own = rows.filter(pc.is_in(rows["cohort"], pa.array(pretraining.datasets)))
        parts += [f"## Pretrained on {escape_markdown(pretraining.title)}", as_markdown(own)]
    return "\n\n".join(parts)


def _mark(headline: Headline) -> str:
    """What tells a number from the zero-shot AUROC by image."""
    probed = bool(headline.number) and not headline.is_zero_shot
    return PROBED * probed + STUDIED * headline.number.endswith(BY_STUDY)


def list_trainings(pretraining: Pretraining, rows: Sequence[Row]) -> str:
    """A table of all trainings on a cohort, newest first, with a note on what its marks mean."""
    headlines = [make_headline(pretraining, training, rows) for training in pretraining.trainings]
    lines = [
        (
            one.training.name,
            one.training.preset + CHANGED * bool(one.training.changed),
            (one.trained or "not measured") + _mark(one),
            one.untrained,
            one.training.duration,
            one.training.date,
        )
        for one in headlines
    ]
    cells = {cell for line in lines for cell in line}
    notes = {
        CHANGED: f"{CHANGED}: with other settings than the preset; the page of tables lists them.",
        PROBED: f"{PROBED.strip()}: of a linear probe, as there is no zero-shot AUROC.",
        STUDIED: f"{STUDIED.strip()}: one score per study, the mean over its images.",
    }
    found = [text for mark, text in notes.items() if any(mark in cell for cell in cells)]
    table = align([("method", "preset", ZERO_SHOT_NUMBER, "untrained", "training", "finished"), *lines])
    return "\n".join([table, *found])
