"""`python -m benchmarks.audit [--seeds N] [--replays N] [--home HOME --method METHOD]`: what audits find, and what not.

Detection, on simulated scores of an AUROC of 0.85, of patients with 1.25 images on average: how often a gap of 0.05 in
women is called (of the AUROC, and of the miss rate), and how often a tube that raises the scores of a finding by 0.4
standard deviations, by the number of test images. Gaps are sought by sex, age, view and device in four findings.

False alarms: the stored scores of a run (`--home`, `--method`), or else simulated ones, are replayed. In a replay every
patient gets the groups and cues of another patient, so that none of them has to do with the scores, and patients are
drawn with replacement. How many replays call anything at all is what the level of an audit promises.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from evaluation.audit.measure import compare_scores
from evaluation.audit.measures.examined import Examined, ScoredSplit
from evaluation.audit.measures.multiplicity import adjust, list_found
from evaluation.audit.rows import ALL_FINDINGS, AUROC, MISS_RATE, NEGATIVES, Tested
from evaluation.audit.settings import AuditSettings
from tests.evaluation.audit.simulated import VALIDATE, simulate

SETTINGS = AuditSettings()
MISSED = 0.05 / 0.54  # of an AUROC of 0.85, whose sensitivity + specificity - 1 is 0.54: a miss rate higher by 0.05
PLANTS: dict[str, tuple[dict[str, float], str, tuple[str, str]]] = {  # its name -> settings, kind, finding and fact
    "AUROC lower by 0.05 in women": ({"gap": 0.05}, AUROC, ("finding 0", "sex")),
    "AUROC of every finding lower by 0.05 in women": ({"everywhere": 0.05}, AUROC, (ALL_FINDINGS, "sex")),
    "miss rate higher by 0.05 in women": ({"missed": MISSED}, MISS_RATE, ("finding 0", "sex")),
    "tube raises scores by 0.4 std": ({"cue": 0.4}, NEGATIVES, ("finding 1", "tube")),
}
SIZES = (1000, 2000, 4000, 8000, 16_000, 32_000)  # test images


def main() -> int:
    """Print both tables; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--images", type=int, nargs="*", default=SIZES, help="test images of the detection")
    parser.add_argument("--home", default="", help="home of a run whose stored scores are replayed")
    parser.add_argument("--method", default="medklip")
    options = parser.parse_args()
    for images in options.images:
        for name, hits in count_detections(images, options.seeds).items():
            print(f"{images:>6} test images, {name}: called in {hits} of {options.seeds} seeds", flush=True)
    source = read_scores(options.home, options.method) if options.home else lambda seed: simulate(5333, seed)
    alarms = count_alarms(source, options.replays)
    print(f"false alarms at level {SETTINGS.level:g}: {alarms} of {options.replays} replays", flush=True)
    return 0


def count_detections(images: int, seeds: int) -> dict[str, int]:
    """In how many seeds each plant is called on so many test images."""
    hits = dict.fromkeys(PLANTS, 0)
    for name, (settings, kind, place) in PLANTS.items():
        for seed in range(seeds):
            found = call(simulate(images * VALIDATE // (VALIDATE - 1), seed, **settings))  # type: ignore[arg-type]
            hits[name] += any(test.kind == kind and (test.finding, test.fact) == place for test in found)
    return hits


def count_alarms(source: Callable[[int], Examined], replays: int) -> int:
    """In how many replays of the scores anything is called."""
    return sum(bool(call(permute(source(seed), np.random.default_rng(seed)))) for seed in range(replays))


def call(examined: Examined) -> list[Tested]:
    """What an audit of the scores calls found."""
    return list_found(adjust(list(compare_scores(examined, SETTINGS))), SETTINGS.level)


def permute(examined: Examined, rng: np.random.Generator) -> Examined:
    """Patients drawn with replacement, each with the groups and cues of another patient."""
    rows = _rows_of(examined.test.patients)
    drawn = [rows[place] for place in rng.integers(len(rows), size=len(rows))]
    lent = [np.resize(rows[place], len(own)) for own, place in zip(drawn, rng.permutation(len(rows)), strict=True)]
    own, other = np.concatenate(drawn), np.concatenate(lent)
    subjects = np.repeat(np.arange(len(drawn)), [len(each) for each in drawn])
    test = ScoredSplit(examined.test.scores[own], examined.test.labels[own], subjects)
    groups = {name: values[other] for name, values in examined.groups.items()}
    return replace(examined, test=test, groups=groups, cues={name: cue[other] for name, cue in examined.cues.items()})


def _rows_of(patients: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(patients, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(patients[order])) + 1)


def read_scores(home: str, method: str) -> Callable[[int], Examined]:
    """The scores of the latest run of a method on its own dataset, the same ones for every seed."""
    from evaluation.audit.collect import Collected
    from evaluation.dataset import EvaluationDataset
    from evaluation.predictions import Predictions
    from ingestion.workspace import Workspace
    from tracking.runs import trained_run

    workspace = Workspace(home=home)
    predictions = Predictions(EvaluationDataset(workspace), trained_run(workspace, method), "trained", print)
    examined = Collected(predictions, SETTINGS).examined()
    return lambda seed: examined


if __name__ == "__main__":
    raise SystemExit(main())
