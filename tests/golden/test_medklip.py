"""Our MedKLIP, set to the authors' code, gives the numbers of the authors' code."""

import re

import numpy as np
import pytest
import torch
from torch import nn

import models.methods.medklip.network as module
from models.encoders.image import ImageFeatures
from models.losses.position import negative_candidates, sample_positions
from models.method import Batch
from models.methods.medklip.config import MedklipConfig
from models.methods.medklip.network import FrozenTexts, Medklip, existence_labels
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-9}}
DTYPE = {"32": torch.float32, "64": torch.float64}
MODELS = [("precision", ["32", "64"]), ("path", golden_files("medklip_model*.npz"))]
TERMS = {"loss_ce": "existence", "loss_cl": "position"}


class Given(nn.Module):
    """In place of the residual network: its features are the input."""

    def forward(self, images):
        return ImageFeatures(images.mean((2, 3)), images.flatten(2).transpose(1, 2), tuple(images.shape[2:]))


def network(arrays: dict[str, np.ndarray], dtype: torch.dtype, **options) -> Medklip:
    """The authors' weights in our module, in eval mode as the authors ran theirs."""
    sizes = {"layers": "N", "heads": "H", "width": "d_model", "feed_forward": "dim_feedforward"}
    hyper = {ours: int(arrays[f"hp.{theirs}"]) for ours, theirs in sizes.items()}
    config = MedklipConfig(**hyper, existence_head="softmax", **options)
    books = [torch.from_numpy(arrays[f"in.{name}"]) for name in ("disease_book", "ana_book")]
    names = [str(index) for index in range(len(books[0]))]
    channels = arrays["in.resnet_features"].shape[1]
    model = Medklip(config, Given(), channels, names, *books, FrozenTexts(config, names))
    state = {key[len("param.") :]: torch.from_numpy(arrays[key]) for key in arrays if key.startswith("param.")}
    missing = model.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert set(missing.missing_keys) == {"entity_book", "position_book"}
    model.prepare = lambda images: images
    return model.eval().to(dtype)


def options_of(arrays: dict[str, np.ndarray], variant: str) -> dict:
    """What a variant's name says of the authors' settings."""
    chosen = {}
    if "exclude" in variant:
        left_out = np.setdiff1d(np.arange(arrays["in.labels"].shape[1]), arrays["hp.keep_class_dim"])
        chosen["excluded_entities"] = ",".join(map(str, left_out))
    if "no_cl" in variant:
        chosen["position_weight"] = 0.0
    return chosen


def variants(arrays: dict[str, np.ndarray], pattern: str) -> list[str]:
    found = {match[1] for key in arrays if (match := re.fullmatch(rf"(\w+)\.{pattern}", key))}
    assert found, f"nothing like {pattern}"
    return sorted(found)


@pytest.mark.parametrize(*MODELS[0])
@pytest.mark.parametrize(*MODELS[1])
def test_losses_and_gradients(path, precision, monkeypatch):
    arrays = load(path)
    for variant in variants(arrays, rf"out{precision}\.loss"):
        model = network(arrays, DTYPE[precision], **options_of(arrays, variant))
        labels = torch.from_numpy(arrays.get(f"{variant}.in.labels", arrays["in.labels"]))
        targets = torch.full((len(labels), len(model.position_book), labels.shape[1]), -1, dtype=torch.int8)
        targets[:, 0] = labels.to(torch.int8)
        drawn = torch.from_numpy(arrays["in.sample_index"])

        def given(targets, negatives, scope, drawn=drawn):
            where = (targets == 1).any(1).nonzero()
            return where, drawn[where[:, 0], where[:, 1]]

        monkeypatch.setattr(module, "sample_positions", given)
        features = torch.from_numpy(arrays["in.resnet_features"]).to(DTYPE[precision]).requires_grad_()
        terms = model.losses(Batch(features, targets=targets))
        loss = torch.stack(list(terms.values())).sum()
        loss.backward()
        for theirs, ours in TERMS.items():
            expected, actual = arrays[f"{variant}.out{precision}.{theirs}"], terms.get(ours, torch.zeros(()))
            if np.isfinite(expected):
                np.testing.assert_allclose(actual.detach(), expected, **TOLERANCE[precision], err_msg=variant)
            else:  # theirs is NaN in a batch without a positive, ours is 0
                assert not (targets == 1).any()
                assert actual.item() == 0
        expected = arrays[f"{variant}.out{precision}.loss"]
        if np.isfinite(expected):
            np.testing.assert_allclose(loss.detach(), expected, **TOLERANCE[precision], err_msg=variant)
        for key in (key for key in arrays if key.startswith(f"{variant}.grad{precision}.")):
            name = key.split(f"grad{precision}.")[1]
            gradient = features.grad if name == "resnet_features" else model.get_parameter(name).grad
            gradient = torch.zeros(arrays[key].shape) if gradient is None else gradient  # a head no loss reaches
            tolerance = TOLERANCE["32" if arrays[key].dtype == np.float32 else precision]
            np.testing.assert_allclose(gradient, arrays[key], **tolerance, err_msg=key)


@pytest.mark.parametrize(*MODELS[0])
@pytest.mark.parametrize(*MODELS[1])
def test_answers(path, precision):
    """`test`, `z14` and `rsna`: the training query list, asked about classes and places."""
    arrays = load(path)
    model = network(arrays, DTYPE[precision])
    features = torch.from_numpy(arrays["in.resnet_features"]).to(DTYPE[precision])
    with torch.no_grad():
        tokens, grid = model.image_tokens(features)
        answers, maps = model.decode(tokens, attention=True)
        asked = model.zero_shot(features, model.entities)
    assert grid == features.shape[2:]
    logits = model.classifier(answers).detach()
    kept = arrays["hp.keep_class_dim"]  # the authors drop seven answers after the decoder, not the queries before it
    ours = {
        "image_tokens": tokens,
        "logits": logits,
        "prob_present": asked.scores,
        **{f"ws{layer}": attention for layer, attention in enumerate(maps)},
    }
    checked = set()
    for key in arrays:
        match = re.fullmatch(rf"(\w+)\.out{precision}\.(\w+)", key)
        if match and match[2] in ours:
            actual = ours[match[2]][:, kept] if "exclude" in match[1] else ours[match[2]]
            np.testing.assert_allclose(actual, arrays[key], **TOLERANCE[precision], err_msg=key)
            checked.add(match[1])
    assert checked >= ({"test", "test_exclude", "z14", "rsna"} if precision == "32" else {"test", "test_exclude"})
    mean = np.mean([arrays[f"test.out{precision}.ws{layer}"] for layer in range(len(maps))], axis=0)
    np.testing.assert_allclose(asked.maps.flatten(2), mean, **TOLERANCE[precision])


@pytest.mark.parametrize("path", golden_files("medklip_triplets*.npz"))
def test_labels_of_the_matrix(path):
    arrays = load(path)
    ours = existence_labels(torch.from_numpy(arrays["in.class_label"]))
    np.testing.assert_array_equal(ours.numpy(), arrays["out.exist_labels"])


@pytest.mark.parametrize("path", golden_files("medklip_triplets*.npz"))
def test_positions_are_drawn_from_what_the_authors_draw_from(path):
    """Their draws come from Python's `random`, ours from torch: both are draws of the same candidates."""
    arrays = load(path)
    matrix, theirs = torch.from_numpy(arrays["in.class_label"]), torch.from_numpy(arrays["out.position_list"])
    torch.manual_seed(0)
    where, ours = sample_positions(matrix, theirs.shape[-1] - 1)
    assert len(where) == int((matrix == 1).any(1).sum())
    allowed = negative_candidates(matrix, where, "entity")
    for candidates in (ours, theirs[where[:, 0], where[:, 1]]):
        true = matrix[where[:, 0], candidates[:, 0], where[:, 1]]
        assert (true == 1).all()
        assert allowed.gather(1, candidates[:, 1:]).all()
        assert all(len(set(row.tolist())) == len(row) for row in candidates)
