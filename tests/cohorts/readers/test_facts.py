"""Facts of studies, from the tables of each dataset that states them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cohorts.base import Scan
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.layouts.covid_chestxray import DATES, PLACES
from cohorts.phantom.simulated import SimulatedStudy
from cohorts.registry import open_cohort
from cohorts.tables import FACTS
from tests.cohorts.scans import check, edit

Facts = dict[str, object]
NAMES = [field.name for field in FACTS]


@pytest.fixture
def few(simulated) -> list[SimulatedStudy]:
    """Some studies, a few of which have laterals."""
    return simulated[:24]


def scan_layout(layout: str, root: Path, studies: list[SimulatedStudy]) -> Scan:
    layout_writer(layout)(root, studies)
    return check(open_cohort(layout.removesuffix("_jpg").removesuffix("_kaggle"), root).scan())


def facts_of(scan: Scan) -> list[Facts]:
    return [{name: row[name] for name in NAMES if row[name] is not None} for row in scan.studies.to_pylist()]


def of_mimic(study: SimulatedStudy) -> Facts:
    return {"date": f"2110-01-{1 + study.index % 28:02d}"}


def of_patient(study: SimulatedStudy) -> Facts:
    return {"sex": study.sex, "age": study.age}


def of_covid(study: SimulatedStudy) -> Facts:
    facts = of_patient(study)
    if DATES[study.index % len(DATES)] == "January 22, 2020":
        facts["date"] = "2020-01-22"
    place = PLACES[study.patient % len(PLACES)]
    return {**facts, "site": place} if place else facts


@pytest.mark.parametrize(
    ("layout", "expected"),
    [("mimic_cxr_jpg", of_mimic), ("chestxray14", of_patient), ("covid_chestxray", of_covid)],
)
def test_tables_state_facts(few, tmp_path, layout: str, expected: Callable[[SimulatedStudy], Facts]):
    assert facts_of(scan_layout(layout, tmp_path, few)) == [expected(study) for study in few]


def test_chexpert_states_facts_of_train_and_valid_alone(few, tmp_path):
    found = facts_of(scan_layout("chexpert", tmp_path, few))
    order = [study for split in ("train", "validate", "test") for study in few if study.split == split]
    assert found == [{} if study.split == "test" else of_patient(study) for study in order]


def test_dates_are_in_names_of_covid_rural_and_sources_in_lines_of_covidx(few, tmp_path):
    rows = scan_layout("covid_rural", tmp_path / "a", few).studies.to_pylist()
    for row in rows:
        month, day, year = row["image_id"].split("_")[1].split("-")[:3]
        assert row["date"] == f"{year}-{month}-{day}"
    sites = {row["site"] for row in facts_of(scan_layout("covidx", tmp_path / "b", few))}
    assert {"cohen", "rsna"} <= sites


def test_the_grades_of_edema_have_the_dates_of_mimic(few, tmp_path):
    assert all("date" in row for row in facts_of(scan_layout("edema_severity", tmp_path, few)))


@pytest.mark.parametrize("layout", ["open_i_kaggle", "rsna_pneumonia", "siim_pneumothorax", "object_cxr", "mura"])
def test_other_tables_state_none(few, tmp_path, layout):
    assert not any(facts_of(scan_layout(layout, tmp_path, few)))


def test_what_cannot_be_is_unknown(few, tmp_path):
    """CheXpert has ages of 0 and a sex `Unknown`; the older table of ChestX-ray14 has ages such as 058Y and 414."""
    scan_layout("chexpert", tmp_path / "a", few)
    (table,) = (tmp_path / "a").glob("*/train.csv")
    edit(table, lambda lines: [lines[0], *(",".join([line.split(",")[0], "Unknown", "0", *line.split(",")[3:]])
                                           for line in lines[1:])])  # fmt: skip
    chexpert = open_cohort("chexpert", tmp_path / "a").scan()
    assert not any(row["sex"] or row["age"] for row in chexpert.studies.to_pylist() if row["split"] == "train")
    scan_layout("chestxray14", tmp_path / "b", few)
    ages = ["058Y", "414", "-1", "", "no"]
    edit(tmp_path / "b" / "Data_Entry_2017_v2020.csv", lambda lines: [
        lines[0], *(",".join([*line.split(",")[:4], ages[place % 5], *line.split(",")[5:]])
                    for place, line in enumerate(lines[1:]))])  # fmt: skip
    found = open_cohort("chestxray14", tmp_path / "b").scan().studies["age"].to_pylist()
    assert found == [58 if place % 5 == 0 else None for place in range(len(few))]


def test_a_table_without_facts_is_read(few, tmp_path):
    layout_writer("chestxray14")(tmp_path, few)
    table = tmp_path / "Data_Entry_2017_v2020.csv"
    edit(table, lambda lines: [",".join([*line.split(",")[:4], *line.split(",")[6:]]) for line in lines])
    assert not any(facts_of(check(open_cohort("chestxray14", tmp_path).scan())))
    shutil.rmtree(tmp_path)
    layout_writer("chexpert")(tmp_path, few)
    for path in tmp_path.glob("*/*.csv"):
        if path.name != "groundtruth.csv":
            edit(path, lambda lines: [",".join([line.split(",")[0], *line.split(",")[3:]]) for line in lines])
    assert not any(facts_of(check(open_cohort("chexpert", tmp_path).scan())))
