"""`radalign inspect` says what a folder is and writes a description where one is needed. It prints no reports."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from cohorts.described.description_file import read_description
from radalign.command import main
from tests.cohorts.conftest import mimic
from tests.ingestion.inspection.conftest import german, image_at, images_in, table_at

__all__ = ["german", "mimic"]

REPORT = "FINDINGS: A small pleural effusion on the left. IMPRESSION: Effusion of Mr Quixote."


def test_a_published_dataset(mimic, capsys):
    mimic.add("a", report=REPORT)
    mimic.add("b", study="50414268", view="LATERAL")
    root = mimic.close()
    assert main(["inspect", str(root)]) == 0
    printed = capsys.readouterr().out
    assert f"{root} is mimic_cxr. This is certain" in printed
    assert "2 images: 1 would be used (of 1 studies and 1 patients), 1 would be rejects." in printed
    assert "1 view_not_chosen: " in printed
    assert "Reports: of 1 that were looked at: 1 English." in printed
    assert f"radalign ingest --cohort mimic_cxr --root {root}\n" in printed
    assert "--set 'inventory.views=[frontal, lateral, unknown]'    # with the 1 images of other views" in printed
    assert "Quixote" not in printed
    assert "10000032" not in printed


def test_an_export_is_described_and_the_description_is_read(german, tmp_path, capsys):
    written = tmp_path / "beschreibung.yaml"
    assert main(["inspect", str(german), "--write", str(written)]) == 0
    printed = capsys.readouterr().out
    assert "is a manifest, as far as its names and values tell" in printed
    assert "kein Infiltrat" not in printed
    assert read_description(written).columns.patient == "PatNr"
    assert "root" not in written.read_text()  # it lies in the export
    assert main(["inspect", str(written)]) == 0
    assert "12 images: 6 would be used" in capsys.readouterr().out


def test_a_description_elsewhere_names_the_folder(german, tmp_path_factory):
    written = tmp_path_factory.mktemp("elsewhere") / "archive.yaml"
    assert main(["inspect", str(german / "Studien.csv"), "--write", str(written)]) == 0
    assert read_description(written).root == str(german)


def test_nothing_is_written_unless_asked(german):
    before = sorted(german.rglob("*"))
    assert main(["inspect", str(german)]) == 0
    assert sorted(german.rglob("*")) == before


def test_a_file_that_is_there_is_not_replaced(german, tmp_path, capsys):
    written = tmp_path / "archive.yml"
    written.write_text("mine")
    assert main(["inspect", str(german), "--write", str(written)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert written.read_text() == "mine"
    assert main(["inspect", str(german), "--write", str(written), "--force"]) == 0
    assert "manifest: Studien.csv" in written.read_text()


def test_everything_as_json(mimic, capsys):
    mimic.add("a", report=REPORT)
    root = mimic.close()
    assert main(["inspect", str(root), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["datasets"]
    assert (found["name"], found["root"], found["is_usable"]) == ("mimic_cxr", str(root), True)
    assert found["counts"]["reports"] == {"read": 1, "languages": {"English": 1}, "unread": {}}
    assert found["counts"]["views"] == {"PA": 1}


def test_an_export_as_json(german, capsys):
    assert main(["inspect", str(german), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["datasets"] == []
    assert found["export"]["kind"] == "manifest"
    assert found["export"]["archive"]["counts"]["usable"] == 6
    assert "Studien.csv" in found["export"]["description"]


def make_binary(folder: Path) -> Path:
    (folder / "table.csv").write_bytes(bytes(range(256)))
    return folder / "table.csv"


def make_image(folder: Path) -> Path:
    image_at(folder / "image.png")
    return folder / "image.png"


def make_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def make_table_without_images(folder: Path) -> Path:
    return table_at(folder / "list.csv", {"image": ["a.png"], "patient": [1]})


def make_description(folder: Path) -> Path:
    (folder / "archive.yaml").write_text("manifst: list.csv\n")
    return folder / "archive.yaml"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: folder / "absent", "There is no "),
        (lambda folder: folder, "holds no files"),
        (make_binary, "bytes that are no text"),
        (make_image, "is one image"),
        (make_pipe, "is neither a folder nor a regular file"),
        (make_table_without_images, "has no column with paths of images"),
    ],
)
def test_a_mistake_is_one_sentence(make, sentence, tmp_path, capsys):
    assert main(["inspect", str(make(tmp_path))]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("radalign: ")
    assert sentence in last


def test_object_storage_is_not_looked_at(capsys):
    assert main(["inspect", "s3://bucket/archive"]) == 2
    assert "is on object storage" in capsys.readouterr().err


def test_a_mistake_in_a_description_is_said_with_its_line(tmp_path, capsys):
    assert main(["inspect", str(make_description(tmp_path))]) == 2
    assert "line 1, has the key `manifst`" in capsys.readouterr().out


def test_a_folder_that_may_not_be_opened(tmp_path, monkeypatch, capsys):
    images_in(tmp_path / "closed", 1)
    scan = os.scandir

    def refuse(path):
        if str(path).rstrip("/").endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert main(["inspect", str(tmp_path / "closed")]) == 2
    assert "may not be opened" in capsys.readouterr().err


def test_names_of_files_cannot_write_to_the_terminal(tmp_path, capsys):
    folder = tmp_path / "a\x1b[31m\nb"
    folder.mkdir()
    assert main(["inspect", str(folder)]) == 2
    assert "\x1b" not in capsys.readouterr().err
