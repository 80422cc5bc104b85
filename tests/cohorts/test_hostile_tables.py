"""Whatever stands in a table, every row of it is a study or a reject with an id of its own."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohorts.registry import open_cohort
from cohorts.tables import STUDIES

NAMES = st.sampled_from(
    ["a.jpg", "a.jpg#2", "a.jpg#2#2", "../a.jpg", "/a.jpg", "", "a b.jpg", "A.JPG", "..", "a\\b.jpg"]
)
CELLS = NAMES | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
ANNOTATIONS = st.sampled_from(["", "0 1 2 3 4", "0 1 2", "2 1 2 3 4 5 6;", "9", ";;"]) | CELLS
STUDY = "MURA-v1.1/train/XR_HAND/patient00001/study1_positive"


def table(*rows: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_object_cxr(root: Path, rows: list[tuple[str, str]]) -> None:
    (root / "train.csv").write_text(table(("image_name", "annotation"), *rows), encoding="utf-8", newline="")
    (root / "dev.csv").write_text("image_name,annotation\n")


def write_mura(root: Path, rows: list[tuple[str, str]]) -> None:
    paths = [(f"{STUDY}/{name}",) for name, _ in rows]
    (root / "train_image_paths.csv").write_text(table(*paths), encoding="utf-8", newline="")
    (root / "train_labeled_studies.csv").write_text(f"{STUDY}/,1\n")
    (root / "valid_image_paths.csv").write_text("")
    (root / "valid_labeled_studies.csv").write_text("")


def write_covidx(root: Path, rows: list[tuple[str, str]]) -> None:
    lines = [f"p {' '.join(name.split())} positive {' '.join(other.split())}\n" for name, other in rows]
    (root / "train.txt").write_text("".join(lines), encoding="utf-8", newline="")
    (root / "test.txt").write_text("")


@pytest.mark.parametrize("write", [write_object_cxr, write_mura, write_covidx])
@given(rows=st.lists(st.tuples(CELLS, ANNOTATIONS), max_size=8))
@settings(max_examples=20, deadline=None)
def test_every_row_is_accounted_for(write: Callable[[Path, list[tuple[str, str]]], None], rows):
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, rows)
        for part in ("train", "train/XR_HAND/patient00001/study1_positive"):
            (root / part).mkdir(parents=True, exist_ok=True)
            (root / part / "a.jpg").touch()
        scan = open_cohort(write.__name__.removeprefix("write_"), root).scan()
        assert scan.source_rows == len(scan.studies) + len(scan.rejects)
        assert write is write_covidx or scan.source_rows == len(rows)
        ids = scan.studies["image_id"].to_pylist() + scan.rejects["image_id"].to_pylist()
        assert len(set(ids)) == len(ids)
        assert scan.studies.schema.equals(STUDIES, check_metadata=True)
        assert all((root / path).is_file() for path in scan.studies["image_path"].to_pylist())
