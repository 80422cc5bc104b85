"""A released network in the library: it sees films as its authors' code does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import radalign
from ingestion.workspace import Workspace
from radalign.images import FILM, read_films
from tests.models.released.fixtures import find_fixtures
from tests.models.released.test_medklip import texts_folder
from tracking.imported import import_released


def test_films_of_any_shape_are_scored_as_by_the_authors(tmp_path):
    found = find_fixtures("medklip_tiny")
    if not found:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    (fixture,) = found
    workspace = Workspace(home=str(tmp_path / "home"), cohort="phantom")
    texts = texts_folder(fixture, tmp_path / "texts")
    run = import_released(workspace, fixture.file(tmp_path), lambda _: None, texts=texts)
    model = radalign.load(workspace.home_path() / run.output)
    names = [name for name in fixture.expected()["names"].tolist() if name in ("effusion", "pneumonia")]
    columns = [fixture.expected()["names"].tolist().index(name) for name in names]
    wanted = fixture.expected()["probability"][:, columns]
    films = fixture.films()
    assert len({film.shape for film in films}) > 1
    np.testing.assert_allclose(model.zero_shot(films, names).scores, wanted, atol=1e-5)
    files = []
    for number, film in enumerate(films):
        files.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(files[-1]), film)
    np.testing.assert_allclose(model.zero_shot(files, names).scores, wanted, atol=1e-5)


def test_it_is_evaluated_like_a_network_that_was_trained_here(tmp_path, shared_data):
    found = find_fixtures("medklip_tiny")
    if not found:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    workspace = Workspace(home=str(tmp_path / "home"), cohort="phantom")
    texts = texts_folder(found[0], tmp_path / "texts")
    run = import_released(workspace, found[0].file(tmp_path), lambda _: None, texts=texts, name="x")
    model = radalign.load(workspace.home_path() / run.output)
    table = radalign.evaluate(model, "covid_chestxray", str(shared_data / "covid_cxr"), home=workspace.home)
    auroc = table[(table["task"] == "zero_shot_classification") & (table["metric"] == "auroc")]
    assert set(auroc["method"]) == {"medklip", "untrained:medklip"}
    assert auroc.loc[auroc["class"] == "macro", "value"].between(0, 1).all()


def test_a_film_keeps_its_pixels_unless_it_is_large(tmp_path):
    film = np.random.default_rng(0).integers(0, 256, (90, 140), dtype=np.uint8)
    large = np.kron(film, np.ones((16, 16), np.uint8))
    for name, image in (("small", film), ("large", large)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    small, shrunk = read_films([tmp_path / "small.png", tmp_path / "large.png"])
    assert (small == film).all()
    assert max(shrunk.shape) == FILM
    assert shrunk.shape[0] == round(FILM * 90 / 140)
