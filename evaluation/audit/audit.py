"""The audit of one run: what was measured on each dataset, corrected as one family, and what was trained on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.audit.measures.multiplicity import list_found
from evaluation.audit.rows import GAPS, DatasetAudit, Tested
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
        """How many hypotheses were tested: the family of the correction."""
        return sum(test.p is not None for one in self.datasets for test in one.tests)

    def found(self, dataset: DatasetAudit) -> list[Tested]:
        """The gaps and shortcuts that are found on a dataset after the correction, the surest first."""
        return list_found(dataset.tests, self.settings.level)

    def headlines(self) -> list[str]:
        """A sentence for each gap and shortcut that is found."""
        return [f"{one.dataset}: {describe_found(test)}" for one in self.datasets for test in self.found(one)]


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
    if test.kind == "scores of negatives":
        cue = test.fact if test.group == "with" else f"{test.fact} {test.group}"
        share = f"{100 * (test.value or 0):.1f} %"
        way = "higher" if test.difference > 0 else "lower"
        return (
            f"images without {test.finding} score {way} for it with {cue} than {_against(test)} in {share} of pairs "
            f"(50 % where {cue} does not matter), corrected {p}."
        )
    return (
        f"painting over {test.fact} lowers the scores of {test.finding} by {interval} logits more than painting over "
        f"{test.against}, corrected {p}."
    )


def _against(test: Tested) -> str:
    return "without it" if test.group == "with" else test.against
