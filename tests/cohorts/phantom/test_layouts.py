"""Simulated studies in the layouts of published datasets: the same bytes again, images that decode, one split each."""

from __future__ import annotations

import gzip
import hashlib
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from upath import UPath

from cohorts.errors import CohortError
from cohorts.phantom.__main__ import main
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_names, layout_writer
from cohorts.phantom.simulated import chexpert_labels, regions, runs, simulate_studies
from cohorts.registry import cohort_names, open_cohort
from ingestion.stages.images import decode_batch
from tests.cohorts.scans import check


def cohort_of(layout: str) -> str:
    return max((name for name in cohort_names() if layout.startswith(name)), key=len)


def digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def few():
    return simulate_studies(PhantomConfig(studies=8, height=96), 8)


@pytest.mark.parametrize("layout", layout_names())
def test_every_layout_is_read_by_its_cohort_and_decodes(layout, few, tmp_path):
    layout_writer(layout)(tmp_path / "one", few)
    layout_writer(layout)(tmp_path / "two", few)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    cohort = open_cohort(cohort_of(layout), tmp_path / "one")
    scan = check(cohort.scan())
    assert len(scan.studies) > 0
    assert cohort.has_reports or scan.studies["report_path"].null_count == len(scan.studies)
    images, rejects = decode_batch(cohort.root, scan.studies, 32)
    assert (len(images), len(rejects)) == (len(scan.studies), 0)


@pytest.mark.parametrize("layout", layout_names())
def test_every_layout_reads_the_same_from_object_storage(layout, few, tmp_path):
    layout_writer(layout)(tmp_path, few)
    root = UPath(f"memory://layouts/{layout}")
    root.fs.put(f"{tmp_path}/", root.path, recursive=True)
    here, there = (open_cohort(cohort_of(layout), place).scan() for place in (tmp_path, root))
    assert there.studies.equals(here.studies)
    assert there.rejects.equals(here.rejects)


INSERTED = [b",", b"\n", b'"', b"\0", b"../", b"\xff\xfe", b" ", b"#2", b"1e999"]


def mutate(content: bytes, random: Random) -> bytes:
    """The content of a table with a few bytes changed, cut out or put in, or without its end."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 5)):
        place = random.randrange(len(changed) + 1)
        match random.randrange(4):
            case 0:
                changed[place : place + 1] = bytes([random.randrange(256)])
            case 1:
                del changed[place : place + random.randint(1, 30)]
            case 2:
                changed[place:place] = random.choice(INSERTED)
            case 3:
                changed[place:place] = changed[place // 2 : place // 2 + 60]
    return bytes(changed[: random.randrange(len(changed) + 1)] if random.random() < 0.1 else changed)


@pytest.mark.parametrize("layout", layout_names())
def test_spoilt_rows_are_accounted_for(layout, few, tmp_path):
    layout_writer(layout)(tmp_path, few)
    random = Random(layout)
    tables = [path for path in sorted(tmp_path.rglob("*")) if path.suffix in (".csv", ".gz", ".xml", ".txt")]
    for path in random.choices(tables, k=12):
        content = path.read_bytes()
        packed = path.suffix == ".gz"
        spoilt = mutate(gzip.decompress(content) if packed else content, random)
        path.write_bytes(gzip.compress(spoilt) if packed else spoilt)
        with suppress(CohortError):  # what its one sentence says is tested beside each reader
            scan = open_cohort(cohort_of(layout), tmp_path).scan()
            ids = scan.studies["image_id"].to_pylist() + scan.rejects["image_id"].to_pylist()
            assert scan.source_rows == len(ids) == len(set(ids))
        path.write_bytes(content)


def test_every_cohort_of_a_published_dataset_has_a_layout():
    assert {cohort_of(layout) for layout in layout_names()} == set(cohort_names()) - {"phantom"}


def test_studies_are_the_same_however_many_are_drawn(few):
    for one, other in zip(simulate_studies(PhantomConfig(height=96), 3), few, strict=False):
        assert (one.image_id, one.patient, one.age, one.report) == (
            other.image_id,
            other.patient,
            other.age,
            other.report,
        )
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_patients_follow_one_another_and_keep_their_split(simulated):
    for one, other in pairwise(simulated):
        same = one.subject_id == other.subject_id
        assert other.patient - one.patient == (not same)
        assert other.visit == (one.visit + 1 if same else 0)
        assert not same or (one.split, one.sex, one.age) == (other.split, other.sex, other.age)
    assert any(study.visit for study in simulated)
    assert {study.split for study in simulated} == {"train", "validate", "test"}


def test_resizing_keeps_masks_over_what_was_drawn(simulated):
    study = next(study for study in simulated if "nodule" in study.masks)
    larger = study.resized(192, 180)
    assert larger.pixels.shape == larger.masks["nodule"].shape == (192, 180)
    assert larger.masks["nodule"].mean() == pytest.approx(study.masks["nodule"].mean(), rel=0.1)


def test_regions_and_runs():
    mask = np.zeros((8, 9), bool)
    mask[1:4, 5:8] = mask[5:8, 1:5] = True
    mask[0, 0] = True  # a speck
    assert regions(mask) == [(1, 5, 4, 3), (5, 1, 3, 3)]
    flat = np.zeros(72, bool)
    for start, length in runs(mask):
        assert not flat[start : start + length].any()
        flat[start : start + length] = True
    np.testing.assert_array_equal(flat.reshape(9, 8).T, mask)
    assert runs(np.zeros((3, 3), bool)) == []
    assert runs(np.ones((3, 3), bool)) == [(0, 9)]


def test_labels_that_a_labeler_would_find():
    labels = chexpert_labels({"nodule": 1, "edema": 0, "effusion": -1, "tube": 0, "line": 1})
    named = {name: value for name, value in labels.items() if value is not None}
    assert named == {
        "Lung Opacity": 1,
        "Lung Lesion": 1,
        "Edema": 0,
        "Pleural Effusion": -1,
        "Support Devices": 1,
    }
    assert chexpert_labels({"tube": 1, "edema": 0})["No Finding"] == 1


def test_command(tmp_path, capsys):
    root = tmp_path / "new"
    arguments = ["--layout", "chexpert", "--root", str(root), "--studies", "6", "--height", "96"]
    main(arguments)
    assert "6 simulated studies in the layout of chexpert" in capsys.readouterr().out
    assert open_cohort("chexpert", root).scan().source_rows >= 6
    main([*arguments[:3], str(tmp_path / "other"), *arguments[4:], "--seed", "1"])
    assert digests(root) != digests(tmp_path / "other")
    with pytest.raises(SystemExit):
        main(arguments)
    assert f"--root {root} is there and not an empty folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments[:3], str(tmp_path / "none"), "--studies", "0"])
    assert "`studies` must be at least 1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    described = capsys.readouterr().out
    assert all(layout in described for layout in layout_names())


def test_patients_stay_apart_where_there_are_more_of_them_than_the_release_has(few, tmp_path):
    many = [
        replace(few[0], patient=number, visit=0, split=split, lateral=None)
        for number, split in enumerate(["train"] * 3 + ["validate"] * 230 + ["test"] * 30)
    ]
    layout_writer("chexpert")(tmp_path, many)
    studies = open_cohort("chexpert", tmp_path).scan().studies.to_pandas()
    assert len(studies) == len(many)
    assert studies.groupby("subject_id")["split"].nunique().max() == 1
