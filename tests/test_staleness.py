"""What goes stale when a file changes: everything that the file decides, and nothing else.

Each row of the table changes one file of a copy of the checkout. The versions of all stages, trainings, predictions and
results before and after tell what went stale.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from cohorts.registry import cohort_names
from evaluation.evaluator import result_code
from evaluation.predictions import prediction_code
from evaluation.tasks.registry import task_names
from ingestion import pipeline
from ingestion.workspace import Workspace
from models.registry import method_modules, method_names
from store import code
from training.state.code import training_code

METHODS, TASKS, COHORTS = method_names(), task_names(), cohort_names()
STAGES = (pipeline.IMAGES, pipeline.REPORTS, pipeline.TRIPLETS, pipeline.REPORT_LABELS, pipeline.SHARDS)
TRAINED_TASKS = ("fine_tune", "grading", "detection", "segmentation")
Thing = tuple[str, ...]


@cache
def content(path: Path) -> bytes:
    """Of a file, read once for all versions that it is part of."""
    return path.read_bytes()


def versions() -> dict[Thing, str]:
    """The code version of everything that is stored."""
    code._version.cache_clear()
    code._files_of.cache_clear()
    content.cache_clear()
    found: dict[Thing, str] = {("regions",): code.code_version("ingestion.tables.regions")}
    for cohort in COHORTS:
        workspace = Workspace(cohort=cohort)
        found |= {("stage", stage.name, cohort): stage.code_version(workspace) for stage in STAGES}
    for method in METHODS:
        found["training", method] = training_code(method)
        found["prediction", method] = prediction_code(method)
        found |= {("result", task, method): result_code(task, method) for task in TASKS}
    return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of all rooms."""
    root = tmp_path_factory.mktemp("copy")
    for room in code.ROOMS:
        shutil.copytree(code.ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def remember_by_content(function):
    """A function of a file that is called once for each content of the file."""
    known = {}

    def call(path):
        key = path, content(path)
        if key not in known:
            known[key] = function.__wrapped__(path)
        return known[key]

    return call


@pytest.fixture(scope="module")
def stale(copy) -> Iterator[Callable[[str, str], set[Thing]]]:
    """A function that writes a file of the copy, says what that made stale, and puts the file back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "ROOT", copy)
        patch.setattr(code, "_named_in", remember_by_content(code._named_in))
        patch.setattr(code, "_content_digest", remember_by_content(code._content_digest))
        before = versions()

        def change(name: str, text: str) -> set[Thing]:
            path = copy / name
            original = path.read_text() if path.exists() else None
            path.write_text(text)
            try:
                after = versions()
            finally:
                path.unlink() if original is None else path.write_text(original)
            return {thing for thing in before if before[thing] != after[thing]}

        yield change
    code._version.cache_clear()
    code._files_of.cache_clear()


def stage(*names: str, cohorts=COHORTS) -> set[Thing]:
    return {("stage", name, cohort) for name in names for cohort in cohorts}


def training(*methods: str) -> set[Thing]:
    return {("training", method) for method in methods}


def predictions(*methods: str) -> set[Thing]:
    return {("prediction", method) for method in methods}


def results(tasks=TASKS, methods=METHODS) -> set[Thing]:
    return {("result", task, method) for task in tasks for method in methods}


def of_methods(*methods: str) -> set[Thing]:
    return training(*methods) | predictions(*methods) | results(methods=methods)


NOTHING: set[Thing] = set()
REGIONS: set[Thing] = {("regions",)}
EVERY_RESULT = predictions(*METHODS) | results()
TABLE: dict[str, set[Thing]] = {
    # a method: its own, and the methods that build on it
    "models/methods/medklip/network.py": of_methods("medklip"),
    "models/methods/mgca/config.py": of_methods("mgca"),
    "models/methods/chexzero/network.py": of_methods("chexzero", "clip", "lrclr"),
    "models/losses/sinkhorn.py": of_methods("mgca"),
    "models/losses/word_region.py": of_methods("biovil", "gloria", "seibold"),
    "models/text/gloria_prompts.py": of_methods("gloria", "medclip"),
    "models/encoders/fusion/query_decoder.py": of_methods("medklip"),
    "models/method.py": of_methods(*METHODS),
    "models/saved.py": of_methods(*METHODS),
    "models/ensemble.py": NOTHING,
    # training
    "training/loop.py": training(*METHODS),
    "training/schedule.py": training(*METHODS),
    "training/optimizer.py": training(*METHODS) | results(TRAINED_TASKS),
    "imaging/augment.py": training(*METHODS) | results(("fine_tune", "grading", "segmentation")),
    "shards/loader.py": training(*METHODS),
    # tasks
    "evaluation/tasks/linear_probe.py": results(["linear_probe"]),
    "evaluation/tasks/zero_shot_grounding.py": results(["zero_shot_grounding"]),
    "evaluation/tasks/segmentation.py": results(["segmentation"]),
    "evaluation/learning/fitting.py": results(TRAINED_TASKS),
    "evaluation/learning/yolo.py": results(["detection"]),
    "evaluation/metrics/average_precision.py": results(["detection"]),
    "evaluation/metrics/classification.py": results(),
    "evaluation/tasks/data/retrieval_queries.csv": results(["text_image_retrieval", "image_image_retrieval"]),
    # what every prediction goes through
    "evaluation/inference.py": EVERY_RESULT,
    "evaluation/dataset.py": EVERY_RESULT,
    "cohorts/labels.py": EVERY_RESULT | stage("reports", cohorts=set(COHORTS) - {"covid_rural"}),  # by their readers
    "cohorts/subsets.py": EVERY_RESULT,
    "report_parsing/data/knowledge.csv": EVERY_RESULT,
    "report_parsing/knowledge/base.py": EVERY_RESULT,
    "store/arrays.py": EVERY_RESULT,
    # stages
    "cohorts/readers/open_i.py": stage("reports", cohorts=["open_i"]),
    "cohorts/readers/mimic_cxr.py": stage("reports", cohorts=["mimic_cxr", "phantom", "edema_severity", "ms_cxr"]),
    "cohorts/tables.py": stage("images", "reports"),
    "imaging/dicom/display.py": stage("images") | REGIONS | stage("reports", cohorts=["archive"]),  # by its DICOM files
    "imaging/worker.py": stage("images") | REGIONS,
    "imaging/shapes.py": REGIONS | stage("reports", cohorts=["object_cxr"]),  # whose reader checks polygons
    "report_parsing/sections/headings.py": stage("reports"),
    "report_parsing/data/headings.csv": stage("reports"),
    "report_parsing/statements/clauses.py": stage("triplets"),
    "report_parsing/data/cues.csv": stage("triplets"),
    "report_parsing/data/chexpert.csv": stage("report_labels"),
    "report_parsing/data/languages/es/headings.csv": stage("reports"),
    "report_parsing/data/languages/es/lexicon.csv": stage("triplets", "report_labels"),  # it decides what is parsed
    "shards/writer.py": stage("shards"),
    # what only shows, arranges or runs
    "evaluation/evaluator.py": NOTHING,
    "evaluation/tasks/registry.py": NOTHING,
    "evaluation/figures/radar.py": NOTHING,
    "evaluation/tables/texts.py": NOTHING,
    "evaluation/tables/data/traps.csv": NOTHING,
    "evaluation/results/store.py": NOTHING,
    "ingestion/pipeline.py": NOTHING,
    "ingestion/checks.py": NOTHING,
    "tracking/relay.py": NOTHING,
    "radalign/model.py": NOTHING,
    "assets/networks/pretrained.py": NOTHING,
    "pipelines/jobs.py": NOTHING,
    "cohorts/phantom/findings.py": NOTHING,
}


@pytest.mark.parametrize("name", TABLE)
def test_a_changed_file_makes_stale_what_it_decides_and_nothing_else(copy, stale, name):
    text = (copy / name).read_text()
    changed = text + ("\n\nCHANGED = 1\n" if name.endswith(".py") else text.splitlines()[-1] + "\n")
    found = stale(name, changed)
    assert found - TABLE[name] == set(), "stale without a reason"
    assert TABLE[name] - found == set(), "taken for current although it changed"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("models/methods/toy.py", "CHANGED = 1\n"),
        ("cohorts/readers/toy.py", "CHANGED = 1\n"),
        ("cohorts/phantom/layouts/toy.py", "CHANGED = 1\n"),
        ("evaluation/tasks/toy.py", "CHANGED = 1\n"),
    ],
)
def test_a_new_method_dataset_or_task_makes_nothing_else_stale(stale, name, text):
    assert stale(name, text) == set()


@pytest.mark.parametrize("task", TASKS)
def test_a_reworded_description_makes_nothing_stale(copy, stale, task):
    name = f"evaluation/tasks/{task}.py"
    text = (copy / name).read_text()
    head, mark, rest = text.partition('(Task):\n    """')
    assert mark, "a task is described by the docstring of its class"
    assert stale(name, f"{head}{mark}Reworded. {rest}") == set()


ENTRIES = {
    "stage images": pipeline.IMAGES.code(Workspace(cohort="phantom")),
    "stage reports": pipeline.REPORTS.code(Workspace(cohort="phantom")),
    "stage triplets": pipeline.TRIPLETS.code(Workspace(cohort="phantom")),
    "stage shards": pipeline.SHARDS.code(Workspace(cohort="phantom")),
    "training": ("training.loop",),
    "predictions": ("evaluation.predictions",),
    **{f"method {name}": method_modules(name)[:1] for name in METHODS},
    **{f"task {name}": (f"evaluation.tasks.{name}",) for name in TASKS},
}
# A child for each entry; what they have in common, which is not ours, is loaded before.
LOADED = """
import importlib, json, os, sys
import timm, torch, transformers
for number, names in enumerate(json.loads(sys.argv[1])):
    if os.fork() == 0:
        for name in names:
            importlib.import_module(name)
        print(json.dumps([number, list(sys.modules)]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, names
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Entry -> the modules that an interpreter has loaded after its import."""
    command = [sys.executable, "-c", LOADED, json.dumps(list(ENTRIES.values()))]
    lines = subprocess.run(command, cwd=code.ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {list(ENTRIES)[number]: modules for number, modules in map(json.loads, lines)}


@pytest.mark.parametrize("entry", ENTRIES)
def test_whatever_python_loads_for_a_result_counts(entry, loaded):
    """An independent answer to which files count."""
    there = {code.ROOT.joinpath(*name.split(".")) for name in loaded[entry] if name.split(".")[0] in code.ROOMS}
    files = {path for module in there for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file()}
    assert files
    assert files <= code.imported_files(ENTRIES[entry])
