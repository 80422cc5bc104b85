"""Our DSVE gives the numbers of its authors' code: losses, Weldon pooling, and the tower of simple recurrent units."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.encoders.heads.weldon import weldon_pool
from models.losses.negatives.hinge import hinge
from models.losses.negatives.similarities import similarities
from models.text.word_sequence import WordSequence, last_states
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
DTYPE = {"32": torch.float32, "64": torch.float64}
PRECISIONS = pytest.mark.parametrize("precision", ["32", "64"])


@PRECISIONS
@pytest.mark.parametrize("path", golden_files("dsve_loss*.npz"))
def test_loss(path, precision):
    """The diagonal is negated among the hardest, and left out of the sum over all, as in the code."""
    arrays = load(path)
    variants = sorted(key.removesuffix(".hp.margin") for key in arrays if key.endswith(".hp.margin"))
    assert variants
    for variant in variants:
        kind, hardest, margin = (arrays[f"{variant}.hp.{name}"].item() for name in ("kind", "nmax", "margin"))
        names = ("in.images", f"in.texts_{variant}" if f"in.texts_{variant}" in arrays else "in.texts")
        images, texts = (torch.from_numpy(arrays[name]).to(DTYPE[precision]).requires_grad_() for name in names)
        scores = similarities(images, texts, "cosine")
        among_hardest = kind == "hard"
        loss = hinge(scores, margin, hardest if among_hardest else 0, negated_diagonal=among_hardest)
        gradients = torch.autograd.grad(loss, (images, texts))
        found = {"out.loss": loss, "grad.images": gradients[0], "grad.texts": gradients[1]}
        for name, value in found.items():
            theirs = arrays[f"{variant}.{name.replace('.', f'{precision}.')}"]
            np.testing.assert_allclose(value.detach(), theirs, **TOLERANCE[precision], err_msg=f"{variant} {name}")


@PRECISIONS
@pytest.mark.parametrize("path", golden_files("dsve_weldon*.npz"))
def test_pooling(path, precision):
    arrays = load(path)
    variants = sorted(key.removesuffix(".hp.nMax") for key in arrays if key.endswith(".hp.nMax"))
    assert variants
    for variant in variants:
        counts = (arrays[f"{variant}.hp.{name}"].item() for name in ("nMax", "nMin"))
        given = torch.from_numpy(arrays["in.map"]).to(DTYPE[precision]).requires_grad_()
        pooled = weldon_pool(given.flatten(2).mT, *counts)
        gradient = torch.autograd.grad(pooled.square().sum(), given)[0]
        theirs = arrays[f"{variant}.out{precision}.pooled"][..., 0, 0]
        np.testing.assert_allclose(pooled.detach(), theirs, **TOLERANCE[precision], err_msg=variant)
        theirs = arrays[f"{variant}.grad{precision}.map"]
        np.testing.assert_allclose(gradient, theirs, **TOLERANCE[precision], err_msg=variant)


def products(theirs, width):
    """(inputs, width * parts), the parts of a unit side by side -> our (parts * width, inputs)."""
    return theirs.unflatten(1, (width, -1)).permute(2, 1, 0).flatten(0, 1)


@PRECISIONS
@pytest.mark.parametrize("path", golden_files("dsve_text*.npz"))
def test_text_tower(path, precision):
    arrays, dtype = load(path), DTYPE[precision]
    words = torch.from_numpy(arrays["in.word_vectors"]).to(dtype).requires_grad_()
    mask = torch.arange(words.shape[1]) < torch.from_numpy(arrays["in.lengths"])[:, None]
    layers, width = arrays["hp.layers"].item(), arrays[f"out{precision}.last"].shape[1]
    tower = WordSequence(1, words.shape[2], width, layers, "sru").to(dtype).eval()
    for number, layer in enumerate(tower.cell.layers):
        theirs = {name: torch.from_numpy(arrays[f"param.rnn.rnn_lst.{number}.{name}"]) for name in ("weight", "bias")}
        layer.load_state_dict(
            {"products.weight": products(theirs["weight"], width), "gate_bias": theirs["bias"].view(2, width)}
        )
    states = tower.states(words)
    last = last_states(states, mask)
    text = F.normalize(last, dim=-1)
    weights = torch.linspace(-1, 1, text.numel(), dtype=dtype).view_as(text)
    (weights * text).sum().backward()
    found = {"out.states": states, "out.last": last, "out.text": text, "grad.word_vectors": words.grad}
    for name, value in found.items():
        theirs = arrays[name.replace(".", f"{precision}.")]
        np.testing.assert_allclose(value.detach(), theirs, **TOLERANCE[precision], err_msg=name)
    for number, layer in enumerate(tower.cell.layers):
        name = f"grad{precision}.rnn.rnn_lst.{number}"
        theirs = torch.from_numpy(arrays[f"{name}.weight"])
        np.testing.assert_allclose(layer.products.weight.grad, products(theirs, width), **TOLERANCE[precision])
        np.testing.assert_allclose(layer.gate_bias.grad.flatten(), arrays[f"{name}.bias"], **TOLERANCE[precision])
