"""`radalign predict` on files and folders: a row per image, and pictures."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest

from evaluation.figures.pictures import draw_overlay
from radalign.command import main
from radalign.images import read_films
from radalign.predicting import find_images

FINDINGS = ["pleural effusion", "pneumothorax"]


@pytest.fixture
def folder(home, tmp_path):
    """Three radiographs, one of them cut short, and what is no image."""
    images = sorted(home.workspace.root().glob("files/*/*/*/*.dcm"))[:3]
    (tmp_path / "films" / "inner").mkdir(parents=True)
    for image, name in zip(images, ("a.dcm", "inner/b", "inner/c.dcm"), strict=True):
        (tmp_path / "films" / name).write_bytes(image.read_bytes())
    broken = tmp_path / "films" / "a.dcm"
    broken.write_bytes(broken.read_bytes()[:-3000])
    (tmp_path / "films" / "notes.txt").write_text("no image")
    return tmp_path / "films"


def test_a_folder_is_a_row_per_image(home, folder, tmp_path, capsys):
    model, out, maps = str(home.model.folder), tmp_path / "table.csv", tmp_path / "maps"
    command = ["predict", model, str(folder), "--findings", *FINDINGS, "--out", str(out), "--maps", str(maps)]
    assert main(command) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row["image"] for row in rows] == [str(folder / name) for name in ("a.dcm", "inner/b", "inner/c.dcm")]
    assert "truncated_dicom" in rows[0]["reason"]
    assert rows[0][FINDINGS[0]] == ""
    wanted = home.model.zero_shot([folder / "inner/b", folder / "inner/c.dcm"], FINDINGS).scores
    found = np.array([[float(row[finding]) for finding in FINDINGS] for row in rows[1:]])
    np.testing.assert_allclose(found, wanted, atol=6e-5)
    assert sorted(path.name for path in maps.iterdir()) == [
        *("0002-b-pleural_effusion.png", "0002-b-pneumothorax.png"),
        *("0003-c-pleural_effusion.png", "0003-c-pneumothorax.png"),
    ]
    film = read_films(folder / "inner/b")[0]
    picture = cv2.imread(str(maps / "0002-b-pneumothorax.png"))
    assert picture.shape == (*film.shape, 3)
    assert film.shape[0] != film.shape[1]
    assert "1 of 3 images cannot be read" in capsys.readouterr().err


def test_pictures_of_maps_are_no_films(folder):
    films = find_images([str(folder)])
    (folder / "maps").mkdir()
    cv2.imwrite(str(folder / "maps" / "0001.png"), np.zeros((8, 8), np.uint8))
    assert find_images([str(folder)], str(folder / "maps")) == films
    assert len(find_images([str(folder)])) == len(films) + 1
    assert len(find_images([str(folder / "maps")], str(folder / "maps"))) == 1


def test_a_file_is_printed(home, folder, capsys):
    assert main(["predict", str(home.model.folder), str(folder / "inner/b"), "--label", "pneumothorax"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head == "image\tpneumothorax"
    assert row.startswith(f"{folder}/inner/b\t0.")


@pytest.mark.parametrize(
    ("name", "sentence", "status"),
    [("nothing.dcm", "There is no image file nothing.dcm.", 1), ("inner", "There is no DICOM, JPG or PNG file in", 1)],
)
def test_where_there_is_no_image_it_says_so(home, name, sentence, status, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    assert main(["predict", str(home.model.folder), name, "--label", "pneumothorax"]) == status
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "place", "sentence"),
    [
        ("--out", "films", "films is a folder: give --out the name of a file."),
        ("--maps", "films/notes.txt", "notes.txt is no folder: give --maps the name of one."),
        ("--out", "films/notes.txt/table.csv", "notes.txt cannot be used: "),
        ("--maps", "films/notes.txt/maps", "maps cannot be used: Not a directory."),
    ],
)
def test_a_place_that_cannot_be_written_is_named_before_images_are_read(
    home, folder, option, place, sentence, capsys, monkeypatch
):
    monkeypatch.setattr("radalign.predicting.score_files", None)
    image = str(folder / "inner/b")
    place = str(folder.parent / place)
    assert main(["predict", str(home.model.folder), image, "--label", "pneumothorax", option, place]) == 1
    assert sentence in capsys.readouterr().err


def test_all_unreadable_is_a_failure(home, folder, capsys):
    assert main(["predict", str(home.model.folder), str(folder / "a.dcm"), "--label", "pneumothorax"]) == 1
    assert "truncated_dicom" in capsys.readouterr().out


def test_a_map_is_brightest_where_it_is_largest():
    image = np.full((60, 90), 40, np.uint8)
    located = np.zeros((2, 3), np.float32)
    located[1, 2] = 1.0
    located[0, 0] = np.nan
    picture = cv2.imdecode(np.frombuffer(draw_overlay(image, located), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (60, 90, 3)
    assert (picture[2, 2] == 40).all()
    assert int(picture[-3, -3].max()) > 120
    assert draw_overlay(image, np.full((2, 3), np.nan))
