"""A home with the results of six methods that were pretrained on two cohorts, as runs would write them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from evaluation.metrics.values import summarise
from evaluation.results.store import ResultKey, write_results
from evaluation.tasks.registry import task
from ingestion.inventory import InventorySettings, update_inventory
from ingestion.pipeline import describe_absent, write_state
from ingestion.simulation import simulate_archive
from ingestion.workspace import Workspace
from models.run_files import ORIGIN, RESULT
from store.digests import file_digest
from store.seals import write_sealed_json
from tracking.runs import TrainedRun, remember
from training.config import preset

METHODS = ["chexzero", "convirt", "gloria", "lrclr", "medklip", "mgca"]
PROBED = ("chexpert", "rsna_pneumonia", "covidx")
PLACES = (
    *(("zero_shot_classification", cohort, "zero-shot") for cohort in ("", "chexpert", "rsna_pneumonia")),
    *(("linear_probe", cohort, setting) for cohort in PROBED for setting in ("1 %", "10 %", "100 %")),
    ("zero_shot_grounding", "rsna_pneumonia", "zero-shot"),
    ("detection", "object_cxr", "1 %"),
    ("phrase_grounding", "mimic_cxr", "zero-shot"),
)  # task, dataset or that of the pretraining, setting
GAINS = {"phantom": 0.3, "mimic_cxr": 0.1}  # of training over the untrained network; differs by the pretraining
STEP, NOISE, UNTRAINED = 0.02, 0.004, 0.5
NEWEST = {"phantom": 1_790_000_000, "mimic_cxr": 1_790_100_000}  # when the last training on it was finished
SECONDS = 125.0


def level(pretraining: str, place: int, weights: str) -> float:
    """The number of the method at `place` in the list of methods."""
    return UNTRAINED + (GAINS[pretraining] + STEP * place if weights == "trained" else 0.0)


def fill(workspace, methods=None, places=PLACES) -> None:
    """Write runs and results."""
    for pretraining in GAINS:
        there = replace(workspace, cohort=pretraining)
        for number, method in enumerate(methods or METHODS):
            digests = [f"{method} {pretraining} {weights}" for weights in ("trained", "untrained")]
            run = f"{pretraining}-{method}"
            remember(there, TrainedRun(method, run, f"checkpoints/{run}", run, "v", 0, *digests))
            for weights, digest in zip(("trained", "untrained"), digests, strict=True):
                name = method if weights == "trained" else f"untrained:{method}"
                key = ResultKey(name, digest, run, "", "d", 0, simulated=pretraining == "phantom")
                for chosen, cohort, setting in places:
                    values = _values(task(chosen).leading, level(pretraining, number, weights))
                    place = replace(key, cohort=cohort or pretraining)
                    write_results(workspace.home_path(), chosen, place, values, setting, device="cpu", precision="fp32")


def _values(metric, value):
    resampled = value + NOISE * np.random.default_rng(round(1000 * value)).normal(size=(1000, 2))
    return summarise(metric, ["Edema", "Effusion"], np.full(2, value), resampled, np.array([40, 40]))


def write_run_folders(workspace, methods=None) -> None:
    """What trainings leave in their folders: those on mimic_cxr are newer, the first method is the newest of each."""
    for pretraining, newest in NEWEST.items():
        for number, method in enumerate(methods or METHODS):
            folder = workspace.home_path() / "checkpoints" / f"{pretraining}-{method}"
            folder.mkdir(parents=True, exist_ok=True)
            settings = vars(preset(method, "demo", epochs=None if number else 1))
            (folder / ORIGIN).write_text(json.dumps({"settings": settings, "data_version": "v"}))
            facts = {"seconds": SECONDS, "steps": 9, "pairs": 40, "origin_digest": file_digest(folder / ORIGIN)}
            write_sealed_json(folder / RESULT, facts)
            os.utime(folder / RESULT, (newest - number,) * 2)


def write_archives(workspace, folder: Path) -> dict[str, Path]:
    """Archives of a few studies, which are listed: the phantom's in the home, the other outside; returns both."""
    here = replace(workspace, cohort="phantom")
    simulate_archive(here, PhantomConfig(studies=4, height=64), print)
    outside = folder / "archive <of> mimic"
    layout_writer("mimic_cxr")(outside, simulate_studies(PhantomConfig(studies=4, height=64), 4))
    (outside / "SIMULATED.txt").unlink()  # it stands for a real one
    there = replace(workspace, cohort="mimic_cxr", archive_root=str(outside))
    for place in (here, there):
        update_inventory(place, InventorySettings(), print)
    write_state(workspace, "chexpert", {"status": "ready", "note": "", "root": str(folder), "simulated": False})
    write_state(workspace, "covidx", describe_absent("It has no archive."))
    return {"phantom": here.root(), "mimic_cxr": outside}


def build_home(folder: Path, methods=None) -> Workspace:
    """All of it."""
    workspace = Workspace(home=str(folder / "home"), cohort="phantom")
    fill(workspace, methods)
    write_run_folders(workspace, methods)
    write_archives(workspace, folder)
    return workspace
