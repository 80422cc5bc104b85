"""Our MedKLIP, set to the authors' code, gives the numbers of the authors' code."""

import numpy as np
import pytest
import torch

from models.losses.existence import existence_loss
from models.methods.medklip import Medklip, MedklipConfig
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-9}}
DTYPE = {"32": torch.float32, "64": torch.float64}


def network(arrays: dict[str, np.ndarray], dtype: torch.dtype) -> Medklip:
    hyper = {name: int(arrays[f"hp.{name}"]) for name in ("N", "H", "d_model", "dim_feedforward")}
    config = MedklipConfig(
        layers=hyper["N"],
        heads=hyper["H"],
        width=hyper["d_model"],
        feed_forward=hyper["dim_feedforward"],
        existence_head="softmax",
    )
    books = [torch.from_numpy(arrays[f"in.{name}"]) for name in ("disease_book", "ana_book")]
    channels = arrays["in.resnet_features"].shape[1]
    names = [str(index) for index in range(len(books[0]))]
    model = Medklip(config, torch.nn.Identity(), channels, names, *books)
    state = {key[len("param.") :]: torch.from_numpy(arrays[key]) for key in arrays if key.startswith("param.")}
    missing = model.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert set(missing.missing_keys) == {"entity_book", "position_book"}
    return model.eval().to(dtype)


def run(arrays: dict[str, np.ndarray], variant: str, precision: str) -> tuple[Medklip, dict[str, torch.Tensor]]:
    """The loss terms and named gradients of one variant."""
    dtype = DTYPE[precision]
    model = network(arrays, dtype)
    labels = torch.from_numpy(arrays.get(f"{variant}.in.labels", arrays["in.labels"])).clone()
    if "exclude" in variant:
        dropped = np.setdiff1d(np.arange(labels.shape[1]), arrays["hp.keep_class_dim"])
        labels[:, dropped] = -1
    features = torch.from_numpy(arrays["in.resnet_features"]).to(dtype).requires_grad_()
    tokens, _ = model.image_tokens(features)
    answers, _ = model.answer(tokens, model.entity_book, attention=False)
    terms = {"loss_ce": existence_loss(model.classifier(answers), labels)}
    if not variant.endswith("no_cl"):
        where = (labels == 1).nonzero()
        candidates = torch.from_numpy(arrays["in.sample_index"])[where[:, 0], where[:, 1]]
        predicted = model.cl_fc(answers[where[:, 0], where[:, 1]])
        from models.losses.position import position_loss

        terms["loss_cl"] = position_loss(predicted, model.position_book, candidates)
    loss = sum(terms.values())
    loss.backward()
    return model, {"loss": loss.detach(), **{key: term.detach() for key, term in terms.items()}, "features": features}


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("medklip_model*.npz"))
def test_losses_and_gradients(path, precision):
    arrays = load(path)
    variants = sorted({key.split(".")[0] for key in arrays if key.endswith(f".out{precision}.loss")})
    assert "train" in variants
    for variant in variants:
        model, ours = run(arrays, variant, precision)
        for name in ("loss", "loss_ce", "loss_cl"):
            theirs = arrays[f"{variant}.out{precision}.{name}"]
            if name in ours and np.isfinite(theirs):  # theirs is NaN without a positive; ours is the other term
                np.testing.assert_allclose(ours[name].numpy(), theirs, **TOLERANCE[precision], err_msg=variant)
            assert torch.isfinite(ours["loss"])
        for key in (key for key in arrays if key.startswith(f"{variant}.grad{precision}.")):
            name = key.split(f"grad{precision}.")[1]
            gradient = ours["features"].grad if name == "resnet_features" else model.get_parameter(name).grad
            gradient = torch.zeros(arrays[key].shape) if gradient is None else gradient  # a head no loss reaches
            np.testing.assert_allclose(
                gradient.numpy(), arrays[key], **TOLERANCE["32" if arrays[key].dtype == np.float32 else precision],
                err_msg=key,
            )  # fmt: skip


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("medklip_model*.npz"))
def test_zero_shot(path, precision):
    arrays = load(path)
    model = network(arrays, DTYPE[precision])
    features = torch.from_numpy(arrays["in.resnet_features"]).to(DTYPE[precision])
    with torch.no_grad():
        tokens, grid = model.image_tokens(features)
        answers, maps = model.answer(tokens, model.entity_book, attention=True)
        logits, probabilities = model.classifier(answers), model.probabilities(answers)
    assert grid == features.shape[2:]
    tolerance = TOLERANCE[precision]
    np.testing.assert_allclose(tokens, arrays[f"test.out{precision}.image_tokens"], **tolerance)
    np.testing.assert_allclose(logits, arrays[f"test.out{precision}.logits"], **tolerance)
    kept = arrays["hp.keep_class_dim"]  # the authors drop seven answers after the decoder, not the queries before it
    np.testing.assert_allclose(logits[:, kept], arrays[f"test_exclude.out{precision}.logits"], **tolerance)
    for layer in range(len(maps)):
        np.testing.assert_allclose(maps[layer], arrays[f"test.out{precision}.ws{layer}"], **tolerance)
    np.testing.assert_allclose(probabilities, arrays["z14.out32.prob_present"], **TOLERANCE["32"])


@pytest.mark.parametrize("path", golden_files("medklip_triplets*.npz"))
def test_labels_of_the_matrix(path):
    from models.methods.medklip import existence_labels

    arrays = load(path)
    ours = existence_labels(torch.from_numpy(arrays["in.class_label"]))
    np.testing.assert_array_equal(ours.numpy(), arrays["out.exist_labels"])


@pytest.mark.parametrize("path", golden_files("medklip_triplets*.npz"))
def test_sampled_positions_obey_the_authors_rule(path):
    """Their draws come from Python's `random`; ours from torch. Both take a present position and seven others."""
    from models.losses.position import sample_positions

    matrix = torch.from_numpy(load(path)["in.class_label"])
    torch.manual_seed(0)
    where, candidates = sample_positions(matrix, 7)
    assert len(where) == int((matrix == 1).any(1).sum())
    values = matrix[where[:, :1], candidates, where[:, 1:]]
    assert (values[:, 0] == 1).all()
    assert (values[:, 1:] != 1).all()
    assert all(len(set(row.tolist())) == 8 for row in candidates)
