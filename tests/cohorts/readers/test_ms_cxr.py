"""MS-CXR: phrases with boxes on images of MIMIC-CXR, in both families of splits."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from cohorts.dataset import class_of, label_phrase, phrase_of
from cohorts.errors import CohortError
from cohorts.phantom.layouts.ms_cxr import HEADER, TABLE, phrases, write
from cohorts.phantom.simulated import SimulatedStudy, regions
from cohorts.readers.ms_cxr import DATASET, MsCxr
from report_parsing.errors import ReportError
from tests.cohorts.scans import by_image, check, rejected

BOX = ("1", "2", "10", "20", "40", "50")  # and the size of the image
OTHERS = ("5", "5", "5", "5", "40", "50")


@pytest.fixture(scope="module")
def studies(simulated) -> list[SimulatedStudy]:
    return simulated[:24]


@pytest.fixture(scope="module")
def layout(studies, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ms_cxr")
    write(root, studies)
    return root


@pytest.fixture
def boxed(mimic):
    """A MIMIC-CXR-JPG of one image `d<n>` of each patient 1000000<n>, and a table of boxes."""
    mimic.release = mimic.tables = "mimic-cxr-jpg/2.0.0"
    for number in range(12):
        mimic.add(f"d{number}", f"1000000{number}"[:9], f"5000000{number}", report=None)

    def write(rows: Sequence[Sequence[str]], split: str | None = None, name: str = TABLE, columns: int = 10) -> MsCxr:
        mimic.close()
        path = mimic.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        header = [*HEADER[:3], *HEADER[4:]][:columns]
        with open(path, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([header, *(row[:columns] for row in rows)])
        return MsCxr(mimic.root, split)

    return write


def test_layout(layout, studies):
    assert (layout / TABLE).read_text().splitlines()[0] == (
        "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height,split"
    )
    scan = check(MsCxr(layout).scan())
    rows = by_image(scan)
    assert not len(scan.rejects)
    assert rows.keys() == {study.image_id for study in studies if list(phrases(study))}
    for study in studies:
        found = list(phrases(study))
        if not found:
            continue
        row = rows[study.image_id]
        assert (row["split"], row["labels"], row["report_path"]) == ("test", {}, None)
        drawn = [(category, box) for name, category, _ in found for box in regions(study.masks[name])]
        assert [(box["label"], (box["x"], box["y"], box["width"], box["height"])) for box in row["boxes"]] == drawn
        labels = [shape["label"] for shape in row["shapes"]]
        assert {label for label in labels if not phrase_of(label)} == {category for _, category, _ in found}
        said = {label_phrase(category, phrase) for _, category, phrase in found}
        assert {label for label in labels if phrase_of(label)} == said
        assert {class_of(label) for label in labels} <= set(DATASET.regions)


def test_the_published_split(layout, studies):
    rows = by_image(check(MsCxr(layout, "published").scan()))
    assert {row["split"] for row in rows.values()} == {study.split for study in studies}
    assert all(rows[study.image_id]["split"] == study.split for study in studies if study.image_id in rows)
    with pytest.raises(ReportError):
        MsCxr(layout).read_report({})


def test_the_older_table_has_no_split(boxed):
    rows = [("d0", "Edema", "mild  edema", *BOX), ("d0", "Edema", "mild edema", *OTHERS)]
    name = "ms-cxr/0.1/MS_CXR_Local_Alignment_v1.0.0.csv"
    scan = check(boxed(rows, name=name, columns=9).scan())
    (study,) = scan.studies.to_pylist()
    assert [shape["label"] for shape in study["shapes"]] == ["Edema"] * 2 + ["Edema: mild edema"] * 2
    assert rejected(check(boxed(rows, "published", name, 9).scan())) == {"d0": "no_split"}


def test_the_newest_release_is_read(boxed):
    boxed([("d0", "Edema", "old", *BOX)], name="ms-cxr/0.1/MS_CXR_Local_Alignment_v1.0.0.csv", columns=9)
    scan = boxed([("d1", "Edema", "new", *BOX, "test")]).scan()
    assert scan.studies["image_id"].to_pylist() == ["d1"]


def test_every_way_a_row_can_fail(boxed, mimic):
    spoilt = [
        ("nan", "2", "10", "20", "40", "50"),
        ("1", "2", "0", "20", "40", "50"),
        ("1", "2", "10", "", "40", "50"),
        ("1", "2", "10", "60", "40", "50"),
        ("39", "2", "10", "20", "40", "50"),
        ("1", "2", "10", "20", "", "50"),
        ("1", "2", "10", "20", "inf", "nan"),
    ]
    rows = [(f"d{number}", "Edema", "edema", *box, "test") for number, box in enumerate(spoilt)]
    rows += [
        ("d7", "Measles", "spots", *BOX, "test"),
        ("d8", "Edema", " ", *BOX, "test"),
        ("d9", "Edema", "edema", *BOX, "test"),
        ("d10", "Edema", "edema", *BOX, "test"),
        ("d10", "Edema", "edema", *BOX, "train"),
        ("d11", "Edema", "edema", *BOX, "val"),
        ("../x", "Edema", "edema", *BOX, "test"),
        ("", "Edema", "edema", *BOX, "test"),
    ]
    (mimic.root / "mimic-cxr-jpg/2.0.0/files/p10/p10000009/s50000009/d9.jpg").unlink()
    expected = {
        **dict.fromkeys([f"d{number}" for number in range(9)], "bad_box"),
        "d9": "missing_file",
        "d10": "no_split",
        "../x": "not_in_archive",
        "": "not_in_archive",
    }
    scan = check(boxed(rows, "published").scan())
    assert rejected(scan) == expected
    assert scan.studies["split"].to_pylist() == ["validate"]


def test_what_is_missing_is_said(boxed, mimic):
    cohort = boxed([])
    (mimic.root / TABLE).unlink()
    with pytest.raises(CohortError, match=r"no MS_CXR.*RADALIGN_MS_CXR_ROOT.*physionet"):
        cohort.scan()
