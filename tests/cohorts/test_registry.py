"""Every cohort is known by name, says what it needs, and gives the two tables."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cohorts import readers
from cohorts.dataset import BOXES, CLASSES, GRADES, MASKS, PURPOSES, REGIONS, ZERO_SHOT
from cohorts.errors import CohortError
from cohorts.labels import POLICIES
from cohorts.phantom import layouts
from cohorts.phantom.marker import is_marked
from cohorts.registry import cohort_names, dataset, how_to_get, open_cohort, reader_module
from store.code import ROOT, imported_files


def test_names():
    assert {"covid_chestxray", "mimic_cxr", "phantom"} <= set(cohort_names())


@pytest.mark.parametrize("name", cohort_names())
def test_missing_root_is_said_in_one_sentence(name, tmp_path):
    with pytest.raises(CohortError) as caught:
        open_cohort(name, tmp_path / "absent")
    assert f"RADALIGN_{name.upper()}_ROOT" in str(caught.value)
    assert str(tmp_path / "absent") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", cohort_names())
def test_empty_root_is_said_in_one_sentence(name, tmp_path):
    with pytest.raises(CohortError) as caught:
        open_cohort(name, tmp_path).scan()
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_name(tmp_path):
    with pytest.raises(CohortError, match=r"'mimic'.* covid_chestxray, .*mimic_cxr, .*phantom"):
        open_cohort("mimic", tmp_path)


def test_readers_are_found_by_their_files():
    files = {path.stem for path in (ROOT / "cohorts" / "readers").glob("*.py")} - {"__init__"}
    assert cohort_names() == sorted(files)


@pytest.mark.parametrize("name", cohort_names())
def test_a_dataset_declares_what_it_is_good_for(name, tmp_path):
    facts = dataset(name)
    assert facts.name == name == open_cohort(name, tmp_path).name
    assert set(facts.purposes) <= set(PURPOSES)
    assert facts.uncertain in POLICIES
    assert not facts.exclusive or facts.classes
    assert (GRADES in facts.purposes) <= bool(facts.classes)
    assert (CLASSES in facts.purposes) <= bool(facts.classes or name == "archive")  # whose labels its description names
    assert {REGIONS, BOXES, MASKS} & set(facts.purposes) <= ({REGIONS, BOXES, MASKS} if facts.regions else set())
    assert (ZERO_SHOT in facts.purposes) <= (facts.zero_shot is None or bool(facts.zero_shot))
    assert json.loads(json.dumps(facts.facts()))["name"] == name
    assert how_to_get(name).endswith(".")


def modules_after(code: str) -> set[str]:
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


def test_the_facts_of_a_dataset_load_without_pandas_and_other_readers():
    loaded = modules_after("from cohorts.registry import dataset; dataset('chexpert')")
    assert "pandas" not in loaded
    assert {name for name in loaded if name.startswith("cohorts.readers.")} == {"cohorts.readers.chexpert"}
    assert not any(name.startswith(("report_parsing.sections", "report_parsing.statements")) for name in loaded)


def test_names_load_no_reader():
    loaded = modules_after("from cohorts.registry import cohort_names; cohort_names()")
    assert not loaded & {"pandas", "pyarrow", "cv2", "cohorts.base"}
    assert not any(name.startswith("cohorts.readers.") for name in loaded)


@pytest.mark.parametrize("module", ["cohorts.labels", "cohorts.subsets", "cohorts.splits", "cohorts.tables"])
def test_shared_modules_load_without_pandas(module):
    assert "pandas" not in modules_after(f"import {module}")


def test_the_labels_of_results_do_not_depend_on_how_reports_are_parsed():
    closure = {path.relative_to(ROOT).as_posix() for path in imported_files(["cohorts.labels", "cohorts.subsets"])}
    assert {name for name in closure if name.startswith("report_parsing/")} == {
        "report_parsing/__init__.py",
        "report_parsing/vocabulary.py",
    }
    assert not any(name.startswith(("cohorts/readers/", "cohorts/phantom/")) for name in closure)


TOY = """
from cohorts.base import Reader, Scan
from cohorts.dataset import CLASSES, Dataset
from cohorts.tables import REJECTS, STUDIES

DATASET = Dataset(name="toy", purposes=(CLASSES,), classes=("broken",))


class Toy(Reader):
    name = DATASET.name
    has_reports = False
    how_to_get = "make one."

    def scan(self):
        return Scan(STUDIES.empty_table(), REJECTS.empty_table(), 0)
"""


def test_a_file_with_a_reader_is_a_dataset(tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(tmp_path)])
    assert "toy" in cohort_names()
    assert dataset("toy").classes == ("broken",)
    assert (how_to_get("toy"), reader_module("toy")) == ("make one.", "cohorts.readers.toy")
    assert open_cohort("toy", tmp_path).scan().source_rows == 0
    with pytest.raises(CohortError, match=r"RADALIGN_TOY_ROOT points to .*: make one\."):
        open_cohort("toy", tmp_path / "absent")


def test_a_file_with_a_writer_is_a_layout(tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text("def write(root, studies):\n    (root / 'count').write_text(str(len(studies)))\n")
    monkeypatch.setattr(layouts, "__path__", [*layouts.__path__, str(tmp_path)])
    assert "toy" in layouts.layout_names()
    layouts.layout_writer("toy")(tmp_path, [])
    assert (tmp_path / "count").read_text() == "0"
    assert is_marked(tmp_path)
    with pytest.raises(KeyError):
        layouts.layout_writer("absent")
