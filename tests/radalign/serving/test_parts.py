"""Memory and calibration: what is held, for how long, how much of it, and which probabilities there are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit

from imaging.decode import DecodedImage, SquareOptions
from imaging.pool import DecoderPool
from models.encoders.text import TextEncoder
from models.method import Tokens
from radalign import RadalignError, load
from radalign.serving import calibration, films
from radalign.serving.films import Film, GoneError, HeldFilms
from radalign.serving.scoring import ServedModel, name_models
from radalign.serving.texts import remember_texts
from radalign.serving.uploads import FullError, Room, TooLargeError, Upload
from store.errors import DamageError
from tests.models.tiny import tiny_method
from tests.radalign.serving.conftest import SHARD, write_run

FILM = Film(10, 8, {}, ())


def test_an_upload_is_read_by_the_decoders_and_lies_on_no_disk(film):
    with Upload() as upload, DecoderPool(1) as pool:
        content = film.read_bytes()
        upload.write(content[:1000])
        upload.write(content[1000:])
        assert upload.size == len(content)
        assert "memfd" in str(Path(upload.path).readlink())
        found = pool.decode(upload.path, SquareOptions(32))
        expected = pool.decode(film, SquareOptions(32))
    assert isinstance(found, DecodedImage)
    assert (found.pixels == expected.pixels).all()
    assert not upload.path.exists()


async def parts(*sizes):
    for size in sizes:
        yield bytes(size)


def test_the_room_for_uploads_is_bounded():
    async def fill():
        room = Room(most_bytes=100, most_requests=2)
        async with room.place() as one, room.place() as two:
            with pytest.raises(FullError, match="2 requests are under way"):
                async with room.place():
                    pass
            with pytest.raises(TooLargeError, match="--limit"):
                await one.receive("101", parts(), 100, len)
            with pytest.raises(TooLargeError):
                await one.receive("", parts(60, 60), 100, len)
            await two.receive("", parts(50, 50), 100, len)
            with pytest.raises(FullError, match="no room"):
                await two.receive("", parts(50), 100, len)
        assert (room.requests, room.bytes) == (0, 0)

    asyncio.run(fill())


def test_few_films_are_held_and_not_for_long(monkeypatch):
    clock = iter(np.arange(0, 1000, 1.0))
    monkeypatch.setattr(films.time, "monotonic", lambda: next(clock))
    held = HeldFilms(most=2, seconds=20)
    first, second = held.hold(FILM), held.hold(replace(FILM, width=9))
    assert held.find(first).width == 8  # and so used last
    held.hold(FILM)
    with pytest.raises(GoneError, match="send it again"):
        held.find(second)
    assert held.find(first) is FILM
    for _ in range(30):
        next(clock)
    with pytest.raises(GoneError):
        held.find(first)
    assert len(held) == 0


def test_texts_are_read_once_and_say_the_same():
    network = tiny_method("convirt").eval()
    calls = []
    forward = TextEncoder.forward
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(TextEncoder, "forward", lambda self, *given: (calls.append(1), forward(self, *given))[1])
        images = torch.arange(32 * 32, dtype=torch.uint8).view(1, 1, 32, 32)
        expected = network.zero_shot(images, ["effusion", "edema"])
        before = len(calls)
        assert remember_texts(network, most=60) == 1
        for _ in range(3):
            found = network.zero_shot(images, ["effusion", "edema"])
        assert torch.equal(found.scores, expected.scores)
        assert torch.equal(found.maps, expected.maps)
        assert len(calls) == 2 * before
        for number in range(40):  # more than is kept
            network.embed_texts([f"finding {number}"])
        (tower,) = (module for module in network.modules() if isinstance(module, TextEncoder))
        assert sum(size for _, size in tower.forward._known.values()) <= 60
        other = Tokens(torch.ones((1, 3), dtype=torch.long), torch.tensor([[True, True, False]]))
        whole = Tokens(other.ids, torch.ones((1, 3), dtype=torch.bool))
        assert not torch.equal(tower(other).tokens, tower(whole).tokens)


def draw_scores(slope, offset, count=4000):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 0.02, count)  # scores without temperature are all near one half
    present = rng.random(count) < expit(slope * logits + offset)
    return expit(logits), present.astype(int)


def test_a_curve_gives_the_probabilities_that_made_the_labels():
    scores, present = draw_scores(slope=60, offset=-1.0)
    curve = calibration.fit_curve(scores, present, "simulated")
    for logit in (-0.03, 0.0, 0.04):
        assert curve.probability(float(expit(logit))) == pytest.approx(expit(60 * logit - 1), abs=0.04)
    assert (curve.images, curve.positives) == (4000, present.sum())
    with pytest.raises(RadalignError, match="are not higher where it is present"):
        calibration.fit_curve(scores, 1 - present, "simulated")
    with pytest.raises(RadalignError, match="3 images and 2 labels"):
        calibration.fit_curve(np.zeros(3), np.zeros(2), "simulated")


def test_a_calibrated_run_gives_probabilities_and_others_do_not(tmp_path):
    run = write_run(tmp_path / "run", "convirt")
    model = load(run)
    images = np.random.default_rng(0).integers(0, 256, (60, SHARD, SHARD), np.uint8)
    scores = model.zero_shot(images, ["edema"]).scores[:, 0]
    present = (scores > np.median(scores)).astype(int)
    with pytest.raises(RadalignError, match=r"present in 5 of 60 images: a calibration needs 20"):
        calibration.calibrate(model, images, {"edema": [1] * 5 + [0] * 55}, "noise")
    path = calibration.calibrate(model, images, {"edema": present}, "noise")
    served = ServedModel(load(run), "convirt")
    assert served.facts.calibrated == ["edema"]
    film = Film(SHARD, SHARD, {}, (images[0],))
    rows = served.score(film, 0, ["Edema ", "nodule"], maps=False).answer.findings
    assert rows[0].calibrated.data == "noise"
    assert rows[0].calibrated.probability == pytest.approx(
        calibration.read_curves(model)["edema"].probability(float(scores[0])), abs=1e-3
    )
    assert rows[1].calibrated is None
    path.write_text(path.read_text().replace("noise", "patients"))
    with pytest.raises(DamageError):
        calibration.read_curves(model)
    other = write_run(tmp_path / "other", "mgca")
    calibration.calibrate(model, images, {"edema": present}, "noise")
    (other / calibration.FILE).write_bytes(path.read_bytes())
    (other / f"{calibration.FILE}.sha256").write_bytes((run / f"{calibration.FILE}.sha256").read_bytes())
    assert calibration.read_curves(load(other)) == {}  # it is of other weights


def test_two_models_of_a_method_have_two_names(tmp_path):
    runs = [write_run(tmp_path / name, "convirt") for name in ("a", "b")]
    assert name_models([load(run) for run in runs]) == ["convirt", "convirt-2"]
