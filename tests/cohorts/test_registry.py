"""Every cohort is known by name, says what it needs, and gives the two tables."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cohorts.dataset import BOXES, CLASSES, GRADES, MASKS, PURPOSES, REGIONS, ZERO_SHOT
from cohorts.errors import CohortError
from cohorts.labels import POLICIES
from cohorts.registry import cohort_names, dataset, how_to_get, open_cohort
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
    assert (CLASSES in facts.purposes or GRADES in facts.purposes) <= bool(facts.classes)
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
