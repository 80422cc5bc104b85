"""The version of a run's code covers the methods that its method builds on, and no other."""

import shutil

import pytest

from models.registry import method_modules, method_names
from store import code
from store.code import ROOT, imported_files
from training.state.code import training_code

BUILT_ON = {"clip": "chexzero", "lrclr": "chexzero"}


def _path(module: str) -> str:
    return f"{module.replace('.', '/')}.py"


def files_of(method: str) -> set[str]:
    files = imported_files(["training.loop", *method_modules(method)])
    return {path.relative_to(ROOT).as_posix() for path in files}


@pytest.mark.parametrize("method", method_names())
def test_a_method_counts_with_those_that_it_builds_on_alone(method):
    files = {name: {_path(module) for module in method_modules(name)} for name in method_names()}
    counted = {name for name in files if files[name] & files_of(method)}
    assert counted == {method} | ({BUILT_ON[method]} if method in BUILT_ON else set())
    assert files[method] <= files_of(method)
    assert {"training/loop.py", "training/config.py", "imaging/augment.py", "shards/reader.py"} <= files_of(method)


def test_a_further_method_leaves_the_versions_of_others(tmp_path, monkeypatch):
    copy = tmp_path / "checkout"
    for room in ("store", "imaging", "shards", "models", "training"):
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "ROOT", copy)
    before = fresh_versions()
    (copy / "models" / "methods" / "toy.py").write_text("x = 1\n")
    assert fresh_versions() == before
    network = copy / "models" / "methods" / "chexzero" / "network.py"
    network.write_text(network.read_text() + "\nx = 1\n")
    after = fresh_versions()
    changed = {method for method in before if after[method] != before[method]}
    assert changed == {"chexzero", *(name for name, other in BUILT_ON.items() if other == "chexzero")}


def fresh_versions() -> dict[str, str]:
    """The version of every method, as a new process finds it."""
    cached = (code._version, code._named_in, code._content_digest, code._files_of)
    for function in cached:
        function.cache_clear()
    try:
        return {method: training_code(method) for method in method_names()}
    finally:
        for function in cached:
            function.cache_clear()
