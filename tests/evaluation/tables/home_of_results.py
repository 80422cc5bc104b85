"""A home with the results of six methods that were pretrained on two cohorts, as evaluations would write them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evaluation.metrics.values import summarise
from evaluation.results.store import ResultKey, write_results
from evaluation.tasks.registry import task
from models.registry import method_names
from tracking.runs import TrainedRun, remember

PROBED = ("chexpert", "rsna_pneumonia", "covidx")
PLACES = (
    *(("zero_shot_classification", cohort, "zero-shot") for cohort in ("chexpert", "rsna_pneumonia")),
    *(("linear_probe", cohort, setting) for cohort in PROBED for setting in ("1 %", "10 %", "100 %")),
    ("zero_shot_grounding", "rsna_pneumonia", "zero-shot"),
    ("detection", "object_cxr", "1 %"),
    ("phrase_grounding", "mimic_cxr", "zero-shot"),
)
GAINS = {"phantom": 0.3, "mimic_cxr": 0.1}  # of training over the untrained network; differs by the pretraining
STEP, NOISE, UNTRAINED = 0.02, 0.004, 0.5


def level(pretraining: str, place: int, weights: str) -> float:
    """The number of the method at `place` in the list of methods."""
    return UNTRAINED + (GAINS[pretraining] + STEP * place if weights == "trained" else 0.0)


def fill(workspace, methods=None, places=PLACES) -> None:
    """Write runs and results."""
    for pretraining in GAINS:
        there = replace(workspace, cohort=pretraining)
        for number, method in enumerate(methods or method_names()):
            digests = [f"{method} {pretraining} {weights}" for weights in ("trained", "untrained")]
            run = f"{pretraining}-{method}"
            remember(there, TrainedRun(method, run, f"checkpoints/{run}", run, "v", 0, *digests))
            for weights, digest in zip(("trained", "untrained"), digests, strict=True):
                name = method if weights == "trained" else f"untrained:{method}"
                key = ResultKey(name, digest, run, "", "d", 0, simulated=pretraining == "phantom")
                for chosen, cohort, setting in places:
                    values = _values(task(chosen).leading, level(pretraining, number, weights))
                    write_results(workspace.home_path(), chosen, replace(key, cohort=cohort), values, setting)


def _values(metric, value):
    resampled = value + NOISE * np.random.default_rng(round(1000 * value)).normal(size=(1000, 2))
    return summarise(metric, ["Edema", "Effusion"], np.full(2, value), resampled, np.array([40, 40]))
