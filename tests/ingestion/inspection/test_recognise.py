"""Every published layout is recognised by the signature of its reader, and nothing else is called by its name."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from cohorts.archive.marks import Mark
from cohorts.phantom import PHANTOM
from cohorts.phantom.config import FINDINGS, PhantomConfig
from cohorts.phantom.layouts import layout_names, layout_writer
from cohorts.phantom.simulated import SimulatedStudy, simulate_studies
from cohorts.registry import cohort_names, signature
from ingestion.inspection.errors import InspectionError
from ingestion.inspection.listing import list_folder
from ingestion.inspection.look import inspect
from ingestion.inspection.recognise import recognise
from tests.cohorts.conftest import mimic
from tests.cohorts.described.dicom.export import write_object
from tests.ingestion.inspection.conftest import image_at, images_in, look, table_at

__all__ = ["mimic"]

WITH_MIMIC = {"edema_severity"}  # archives that hold MIMIC-CXR as well


def dataset_of(layout: str) -> str:
    """The dataset that a layout is one of."""
    return max((name for name in cohort_names() if layout.startswith(name)), key=len)


@pytest.fixture(scope="module")
def studies() -> list[SimulatedStudy]:
    return simulate_studies(PhantomConfig(studies=12, height=64), 12)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory, studies: list[SimulatedStudy]) -> Path:
    """Every layout in a folder of its name."""
    root = tmp_path_factory.mktemp("archives")
    for layout in layout_names():
        layout_writer(layout)(root / layout, studies)
    return root


def names_at(path: Path) -> dict[str, bool]:
    """The datasets that were recognised, and whether they can be used."""
    return {archive.name: archive.is_usable for archive in look(path).archives}


@pytest.mark.parametrize("name", cohort_names())
def test_every_reader_declares_what_its_files_are(name):
    assert signature(name), f"the reader of {name} has no signature: see docs/adding_a_dataset.md"
    assert all(
        edition and all(isinstance(mark, Mark) and mark.paths for mark in edition) for edition in signature(name)
    )


def test_every_dataset_has_a_layout_to_be_recognised_from():
    assert {dataset_of(layout) for layout in layout_names()} >= set(cohort_names()) - {PHANTOM, "archive"}


@pytest.mark.parametrize("layout", layout_names())
def test_a_simulated_archive_is_recognised_as_its_dataset_alone(layout, archives):
    name = dataset_of(layout)
    found = look(archives / layout)
    assert {archive.name for archive in found.archives if archive.is_usable} - {name} <= (
        {"mimic_cxr"} if holds_mimic(name) else set()
    )
    (archive,) = [archive for archive in found.archives if archive.name == name]
    assert archive.is_usable
    assert archive.is_simulated
    assert archive.root == (archives / layout).resolve()
    assert archive.counts is not None
    rejected = sum(images for _, _, images in archive.counts.rejects)
    assert archive.counts.images == archive.counts.usable + rejected
    assert archive.counts.usable > 0


def holds_mimic(name: str) -> bool:
    """Whether a signature has all marks of that of MIMIC-CXR."""
    return any(set(ours) > set(theirs) for ours in signature(name) for theirs in signature("mimic_cxr"))


def test_the_phantom_is_told_from_mimic(mimic):
    mimic.add("a")
    mimic.close()
    assert names_at(mimic.root) == {"mimic_cxr": True}
    table_at(mimic.root / "truth" / "labels.csv", {"dicom_id": ["a"], **{name: [1] for name in FINDINGS}})
    assert names_at(mimic.root) == {PHANTOM: True, "mimic_cxr": True}


@pytest.mark.parametrize(
    ("layout", "inner"),
    [
        ("mimic_cxr_jpg", "mimic-cxr-jpg"),
        ("chexpert", "CheXpert-v1.0-small"),
        ("mura", "MURA-v1.1"),
        ("covid_rural", "opacity_segmentation_covid_chest_X_ray-master/covid_rural_annot"),
    ],
)
def test_a_folder_inside_is_recognised_where_the_reader_takes_it(layout, inner, archives):
    found = names_at(archives / layout / inner)
    assert dataset_of(layout) in found
    assert found[dataset_of(layout)] or layout == "mimic_cxr_jpg"  # whose reports lie beside the folder


def test_datasets_side_by_side_are_all_named_with_their_folders(archives, tmp_path):
    for layout in ("chestxray14", "covid_chestxray"):
        shutil.copytree(archives / layout, tmp_path / layout)
    found = {archive.name: archive.root for archive in look(tmp_path).archives}
    assert found == {name: (tmp_path / name).resolve() for name in ("chestxray14", "covid_chestxray")}


def test_mimic_without_its_metadata_is_incomplete_in_the_words_of_its_reader(archives, tmp_path):
    shutil.copytree(archives / "mimic_cxr_jpg", tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*metadata*"):
        path.unlink()
    (archive,) = look(tmp_path / "copy").archives
    assert (archive.name, archive.is_usable, archive.counts) == ("mimic_cxr", False, None)
    assert "There is no mimic-cxr-2.0.0-metadata.csv.gz" in archive.missing


def test_mimic_without_any_table_is_incomplete_and_a_dicom_tree(tmp_path):
    for number in range(3):
        folder = tmp_path / "files" / "p10" / f"p1000000{number}"
        write_object(folder / f"s5000000{number}" / "0a-1b.dcm", number)
    found = look(tmp_path)
    (archive,) = found.archives
    assert (archive.name, archive.is_usable) == ("mimic_cxr", False)
    assert found.export is not None
    assert found.export.kind == "DICOM tree"
    assert found.is_usable


def test_half_a_download_is_incomplete_in_the_words_of_its_reader(archives, tmp_path):
    release = tmp_path / "CheXpert-v1.0-small"
    shutil.copytree(archives / "chexpert" / release.name, release)
    (release / "valid.csv").unlink()
    (archive,) = look(tmp_path).archives
    assert (archive.name, archive.is_usable) == ("chexpert", False)
    assert "There is no train.csv with a valid.csv beside it" in archive.missing


def test_a_download_without_images_is_incomplete(archives, tmp_path):
    shutil.copytree(archives / "chestxray14", tmp_path / "copy", ignore=shutil.ignore_patterns("*.png"))
    (archive,) = look(tmp_path / "copy").archives
    assert (archive.name, archive.is_usable) == ("chestxray14", False)
    assert "missing_file" in archive.missing
    assert archive.counts is not None
    assert archive.counts.images == 12


def test_grades_without_mimic_are_incomplete(archives, tmp_path):
    source = next((archives / "edema_severity").glob("mimic-cxr-pe-severity"))
    shutil.copytree(source, tmp_path / "grades" / source.name)
    (archive,) = look(tmp_path / "grades").archives
    assert (archive.name, archive.is_usable) == ("edema_severity", False)


LOOKALIKES = {
    "metadata.csv": "patientid,finding,view,clinical_notes,filename\n1,x,PA,none,a.png\n",  # of a hospital
    "train.csv": "Path,Sex,Age,Frontal/Lateral,AP/PA\na.png,M,1,Frontal,PA\n",
    "train-rle.csv": "ImageId,Mask\n1,2\n",
    "stage_2_train_labels.csv": "patientId,Target\n1,0\n",
    "Data_Entry_2017.csv": "image,findings\na.png,Mass\n",
    "train.txt": "the first line\nof a story with four words\n",
    "test.txt": "another line of a story\n",
    "note.xml": '<?xml version="1.0"?><note><uId id="7"/></note>\n',
    "train_image_paths.csv": "images/cat.png\nimages/dog.png\n",
    "dev.csv": "image_name,annotation\na.jpg,cat\n",
    "mimic-cxr-2.0.0-metadata.csv": "id,name\n1,2\n",
    "indiana_reports.csv": "uid,text\n1,2\n",
}


def test_other_files_with_the_names_of_published_ones_are_none_of_them(tmp_path):
    for name, text in LOOKALIKES.items():
        (tmp_path / name).write_text(text)
    for folder in ("jpgs", "pngs_masks"):
        image_at(tmp_path / folder / "cat_1.png")
    assert recognise(list_folder(tmp_path, lambda line: None)) == []


def test_a_folder_of_pictures_is_nothing(tmp_path):
    images_in(tmp_path / "images", 3)
    with pytest.raises(InspectionError, match=r"none of the published datasets.*3 \.png"):
        look(tmp_path)


def test_an_empty_folder_is_nothing(tmp_path):
    with pytest.raises(InspectionError, match="holds no files"):
        look(tmp_path)


def test_a_home_is_no_archive(tmp_path, archives):
    for stage in ("inventory", "studies", "images"):
        (tmp_path / "phantom" / stage).mkdir(parents=True)
    shutil.copytree(archives / "object_cxr", tmp_path / "phantom" / "archive")
    with pytest.raises(InspectionError, match="is a home of Radalign"):
        look(tmp_path)


def test_a_table_may_be_packed(archives, tmp_path):
    shutil.copytree(archives / "chestxray14", tmp_path / "copy")
    table = tmp_path / "copy" / "Data_Entry_2017_v2020.csv"
    (tmp_path / "copy" / f"{table.name}.gz").write_bytes(gzip.compress(table.read_bytes()))
    table.unlink()
    assert names_at(tmp_path / "copy") == {"chestxray14": True}


def test_a_link_out_of_the_archive_is_said(archives, tmp_path):
    release = tmp_path / "release"
    shutil.copytree(archives / "mimic_cxr_jpg" / "mimic-cxr-jpg" / "2.1.0", release)
    shutil.move(release / "files", tmp_path / "elsewhere")
    (release / "files").symlink_to(tmp_path / "elsewhere")
    found = look(release)
    assert found.listing.links_out == 1
    (archive,) = found.archives
    assert "is a link out of" in archive.missing


def test_progress_names_what_is_listed(archives):
    lines: list[str] = []
    inspect(archives / "object_cxr", lines.append)
    assert lines == [f"Listing {archives / 'object_cxr'} as object_cxr."]


def test_a_dataset_that_is_one_file_brings_its_own_signature(tmp_path, monkeypatch):
    from cohorts import readers

    (tmp_path / "readers").mkdir()
    (tmp_path / "readers" / "one_table.py").write_text(  # a name of its own: modules stay imported
        "from cohorts.archive.marks import Mark\nfrom cohorts.base import Reader\n\n\nclass OneTable(Reader):\n"
        "    signature = ((Mark(('toy.csv',), ('toy',)),),)\n    def scan(self): ...\n"
    )
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(tmp_path / "readers")])
    table_at(tmp_path / "data" / "toy.csv", {"toy": [1], "image": [2]})
    (candidate,) = recognise(list_folder(tmp_path / "data", lambda line: None))
    assert (candidate.name, candidate.roots, candidate.is_whole) == ("one_table", ("",), True)
