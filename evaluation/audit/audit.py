"""The audit of one run: what was measured on each dataset, with corrected p-values, and what was trained on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.audit.measures.multiplicity import list_found
from evaluation.audit.measures.painting import PLACES
from evaluation.audit.rows import GAPS, NEGATIVES, CueRow, DatasetAudit, Tested
from evaluation.audit.settings import AuditSettings
from evaluation.audit.shift import ShiftMatrix
from evaluation.results.trainings import Training


@dataclass(frozen=True)
class Audit:
    """The audit of one run."""

    training: Training
    cohort: str  # of the pretraining
    settings: AuditSettings
    datasets: Sequence[DatasetAudit]  # with corrected p-values
    left_out: Sequence[str]  # sentences: datasets that were not audited, and why
    shift: ShiftMatrix
    date: str

    @property
    def name(self) -> str:
        """The method, its variant and its seed."""
        return self.training.name

    @property
    def simulated(self) -> bool:
        """Whether a dataset of it is simulated."""
        return any(one.simulated for one in self.datasets)

    @property
    def tested(self) -> int:
        """How many hypotheses were tested, and corrected for."""
        return sum(test.p is not None for one in self.datasets for test in one.tests)

    def found(self, dataset: DatasetAudit) -> list[Tested]:
        """The gaps and shortcuts that are found on a dataset after the correction, the surest first."""
        return list_found(dataset.tests, self.settings.level)

    def headlines(self) -> list[str]:
        """A sentence for each gap and shortcut that is found."""
        return [
            f"{one.dataset}: {describe_found(test)}{describe_training(test, one.cues)}"
            for one in self.datasets
            for test in self.found(one)
        ]


def describe_found(test: Tested) -> str:
    """A gap or a shortcut in a sentence."""
    assert test.difference is not None
    p = "p < 0.001" if (test.adjusted or 0) < 0.001 else f"p = {test.adjusted:.3f}"
    interval = f"{test.difference:+.3f} [{test.low:+.3f}, {test.high:+.3f}]"
    if test.kind in GAPS:
        return (
            f"the {test.kind} of {test.finding} is {test.value:.3f} for {test.fact} {test.group}, {test.reference:.3f} "
            f"for {test.against}: {interval}, corrected {p}."
        )
    if test.kind == NEGATIVES:
        cue = test.fact if test.group == "with" else f"{test.fact} {test.group}"
        share = f"{100 * (test.value or 0):.1f} %"
        way = "higher" if test.difference > 0 else "lower"
        return (
            f"images without {test.finding} score {way} for it with {cue} than {_against(test)} in {share} of pairs "
            f"(50 % where {cue} does not matter), corrected {p}."
        )
    if test.fact in PLACES:
        return (
            f"painting over {test.fact} costs {test.finding} {interval} logits between images with and without it, "
            f"beyond what painting over {test.against} does, corrected {p}."
        )
    way = "lowers" if test.difference > 0 else "raises"
    return (
        f"painting over {test.fact} {way} the scores of {test.finding}: they fall by {interval} logits more than when "
        f"{test.against} is painted over, corrected {p}."
    )


def describe_training(test: Tested, cues: Sequence[CueRow]) -> str:
    """How often the cue of a shortcut comes with the finding in train, as a sentence; empty where that is unknown."""
    row = next((row for row in cues if (row.finding, row.cue) == (test.finding, test.fact)), None)
    if row is None or test.kind in GAPS or None in row.train:
        return ""
    present, absent = (f"{100 * (share or 0):.0f} %" for share in row.train)
    return f" In train, {row.cue} comes with {present} of the images with {row.finding} and {absent} of the others."


def _against(test: Tested) -> str:
    return "without it" if test.group == "with" else test.against
