"""CheXpert as it is downloaded: two tables whose Path begins with a folder, and a test set labelled elsewhere."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from cohorts.errors import CohortError
from cohorts.labels import CHEXPERT_14
from cohorts.phantom.layouts.chexpert import RELEASE, write
from cohorts.phantom.simulated import CHEXPERT_ORDER, chexpert_labels
from cohorts.readers.chexpert import CheXpert
from report_parsing.errors import ReportError
from tests.cohorts.scans import by_image, check, edit, rejected

HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)


@pytest.fixture(scope="module")
def layout(simulated, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("chexpert")
    write(root, simulated)
    return root


@pytest.fixture
def copy(layout, tmp_path) -> Path:
    return shutil.copytree(layout, tmp_path / "copy")


def test_the_header_is_the_published_one(layout):
    for part in ("train", "valid"):
        assert (layout / RELEASE / f"{part}.csv").read_text().splitlines()[0] == HEADER


def test_frontal_images_are_studies_with_what_the_tables_say(layout, simulated):
    scan = check(CheXpert(layout).scan())
    assert set(rejected(scan).values()) == {"view_not_chosen"}
    assert len(scan.studies) == len(simulated)
    assert scan.source_rows == len(simulated) + sum(study.lateral is not None for study in simulated)
    rows = iter(scan.studies.to_pylist())
    for split in ("train", "validate", "test"):
        for study in (study for study in simulated if study.split == split):
            row = next(rows)
            expected = study.statements if split == "train" else dict.fromkeys(study.masks, 1)
            labels = chexpert_labels(expected)
            if split != "train":
                labels = {name: value or 0 for name, value in labels.items()}
            assert dict(row["labels"]) == {name: value for name, value in labels.items() if value is not None}
            assert row["split"] == split
            assert row["view"] == ("FRONTAL" if split == "test" else study.view)
            assert (layout / row["image_path"]).is_file()
            assert row["study_id"].endswith(f"-study{study.visit + 1}")


def test_gloria_carves_validation_from_train_and_tests_on_the_validation_set(layout, simulated, monkeypatch):
    monkeypatch.setattr("cohorts.readers.chexpert.VALIDATION_SHARE", 0.3)
    scan = check(CheXpert(layout, "gloria").scan())
    official = by_image(CheXpert(layout).scan())
    pairs = Counter((official[image]["split"], row["split"]) for image, row in by_image(scan).items())
    assert set(pairs) == {("train", "train"), ("train", "validate"), ("validate", "test")}
    assert "not_in_split" in rejected(scan).values()


def test_root_may_be_the_release_itself_or_the_full_one(layout, tmp_path):
    whole = by_image(CheXpert(layout).scan())
    shutil.copytree(layout / RELEASE, tmp_path / "CheXpert-v1.0")
    shutil.copy(layout / "cheXpert-test-set-labels" / "groundtruth.csv", tmp_path / "CheXpert-v1.0")
    for root in (tmp_path, tmp_path / "CheXpert-v1.0"):
        scan = check(CheXpert(root).scan())
        assert {row["image_id"]: row["labels"] for row in by_image(scan).values()} == {
            image: row["labels"] for image, row in whole.items()
        }
        assert all((root / path).is_file() for path in scan.studies["image_path"].to_pylist())


def test_without_test_labels_and_without_a_test_set(copy, simulated):
    (copy / "cheXpert-test-set-labels" / "groundtruth.csv").unlink()
    tested = sum(study.split == "test" for study in simulated)
    assert Counter(rejected(check(CheXpert(copy).scan())).values())["no_labels"] == tested
    shutil.rmtree(copy / RELEASE / "test")
    scan = check(CheXpert(copy).scan())
    assert set(scan.studies["split"].to_pylist()) == {"train", "validate"}


def test_every_way_a_row_can_fail(copy):
    table = copy / RELEASE / "train.csv"
    line = table.read_text().splitlines()[1]
    path = line.split(",")[0]
    bad = [
        line.replace(path, f"{RELEASE}/train/../../patient00001/study1/view1_frontal.jpg"),
        line.replace(path, "/etc/passwd"),
        line.replace(path, ""),
        line.replace(path, f"{RELEASE}/train/patient99999/study1/view1_frontal.jpg"),
        line.replace(path, path.replace("study1/", "study1/x/")),
    ]
    for label in ("2", "inf", "0.5", "yes"):
        view = f"train/patient{len(bad):05d}/study77/view1_frontal.jpg"
        (copy / RELEASE / view).parent.mkdir(parents=True)
        (copy / RELEASE / view).touch()
        bad.append(f"{RELEASE}/{view},{line.split(',', 1)[1].rpartition(',')[0]},{label}")
    before = CheXpert(copy).scan()
    edit(table, lambda lines: [*lines, line, *bad])
    study = "CheXpert-v1.0/test/patient70000/study1" + ",0" * 14
    edit(copy / "cheXpert-test-set-labels" / "groundtruth.csv", lambda lines: [*lines, study])
    scan = check(CheXpert(copy).scan())
    assert scan.source_rows == before.source_rows + 11
    assert scan.studies.equals(before.studies)
    new = {image: reason for image, reason in rejected(scan).items() if image not in rejected(before)}
    assert Counter(new.values()) == {"duplicate_id": 1, "path_outside_root": 4, "missing_file": 2, "bad_label": 4}


def test_labels_are_found_by_name_in_any_order(copy):
    """chexpert-labeler puts Lung Lesion before Lung Opacity, CheXpert's own tables the other way round."""
    before = by_image(CheXpert(copy).scan())
    swapped = HEADER.split(",")
    left, right = swapped.index("Lung Opacity"), swapped.index("Lung Lesion")

    def swap(lines: list[str]) -> list[str]:
        rows = [line.split(",") for line in lines]
        for row in rows:
            row[left], row[right] = row[right], row[left]
        return [",".join(row) for row in rows]

    edit(copy / RELEASE / "train.csv", swap)
    assert {image: row["labels"] for image, row in by_image(CheXpert(copy).scan()).items()} == {
        image: row["labels"] for image, row in before.items()
    }
    assert set(CHEXPERT_14) == set(CHEXPERT_ORDER)


def test_what_is_missing_is_said(copy):
    (copy / RELEASE / "valid.csv").unlink()
    with pytest.raises(CohortError, match=r"no train\.csv with a valid\.csv.*RADALIGN_CHEXPERT_ROOT.*Stanford"):
        CheXpert(copy).scan()
    (copy / RELEASE / "valid.csv").write_text("Path,Sex\n")
    with pytest.raises(CohortError, match=r"valid\.csv has no column Frontal/Lateral"):
        CheXpert(copy).scan()
    with pytest.raises(CohortError, match="chexpert has no split 'mgca'; choose official or gloria"):
        CheXpert(copy, "mgca")


def test_there_is_no_report(layout):
    with pytest.raises(ReportError) as caught:
        CheXpert(layout).read_report({})
    assert caught.value.reason == "no_report"


def test_a_release_whose_name_looks_like_a_pattern_keeps_its_test_set(copy):
    before = CheXpert(copy).scan().studies
    (copy / RELEASE).rename(copy / "CheXpert-v1.0 [small]")
    after = CheXpert(copy).scan().studies
    assert "test" in after["split"].to_pylist()
    assert after["image_id"].equals(before["image_id"])
