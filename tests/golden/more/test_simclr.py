"""Our SimCLR gives the numbers of sthalles/SimCLR and of google-research/simclr: losses, heads, and the schedule."""

import numpy as np
import pytest
import torch

from models.encoders.heads.contrastive_head import contrastive_head
from models.losses.negatives.nt_xent import nt_xent, view_logits
from tests.golden.conftest import golden_files, load
from training.config import TrainingConfig
from training.schedule import learning_rate

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
DTYPE = {"32": torch.float32, "64": torch.float64}
PRECISIONS = pytest.mark.parametrize("precision", ["32", "64"])


def variants_of(arrays, name):
    found = sorted(key.split(f".hp.{name}")[0] for key in arrays if key.endswith(f".hp.{name}"))
    assert found
    return found


def matches_first(logits, views):
    """(rows, rows - 1): the other views of an image, then the other images, as the code lays them out."""
    rows = torch.arange(len(logits))
    same_image = rows[:, None] % (len(logits) // views) == rows % (len(logits) // views)
    itself = rows[:, None] == rows
    order = torch.where(itself, 2, torch.where(same_image, 0, 1)).argsort(dim=1, stable=True)
    return logits.gather(1, order)[:, :-1]


@PRECISIONS
@pytest.mark.parametrize("path", golden_files("simclr_ntxent*.npz"))
def test_loss(path, precision):
    arrays = load(path)
    for variant in variants_of(arrays, "temperature"):
        temperature, views = (arrays[f"{variant}.hp.{name}"].item() for name in ("temperature", "n_views"))
        given = arrays["in.features" if views == 2 else f"in.features{views}"]
        features = torch.from_numpy(given).to(DTYPE[precision]).requires_grad_()
        loss = nt_xent(features.unflatten(0, (views, -1)), temperature)
        logits, match = view_logits(features.unflatten(0, (views, -1)), temperature)
        found = {
            "out.loss": loss,
            "out.logits": matches_first(logits, views),
            "out.top1": 100 * (logits.argmax(1) == match).double().mean(),
            "grad.features": torch.autograd.grad(loss, features)[0],
        }
        for name, value in found.items():
            theirs = arrays[f"{variant}.{name.replace('.', f'{precision}.')}"]
            np.testing.assert_allclose(value.detach(), theirs, **TOLERANCE[precision], err_msg=f"{variant} {name}")


@pytest.mark.parametrize("path", golden_files("simclr_google*.npz"))
def test_loss_of_google(path):
    arrays = load(path)
    for variant in variants_of(arrays, "hidden_norm"):
        temperature, normalise = (arrays[f"{variant}.hp.{name}"].item() for name in ("temperature", "hidden_norm"))
        features = torch.from_numpy(arrays["in.features"]).requires_grad_()
        views = features.unflatten(0, (2, -1))
        loss = nt_xent(views, temperature, normalise, sum_views=True)
        logits, _ = view_logits(views, temperature, normalise)
        images = len(features) // 2
        found = {
            "out32.loss": loss,
            "out32.logits_ab": logits[:images, images:],
            "grad32.features": torch.autograd.grad(loss, features)[0],
        }
        for name, value in found.items():
            np.testing.assert_allclose(
                value.detach(), arrays[f"{variant}.{name}"], **TOLERANCE["32"], err_msg=f"{variant} {name}"
            )


@PRECISIONS
@pytest.mark.parametrize("path", golden_files("simclr_head*.npz"))
def test_head(path, precision):
    arrays, dtype = load(path), DTYPE[precision]
    pooled = torch.from_numpy(arrays["in.pooled"]).to(dtype).requires_grad_()
    state = {key.removeprefix("param."): torch.from_numpy(arrays[key]) for key in arrays if key.startswith("param.")}
    head = contrastive_head("mlp", pooled.shape[1], len(state["2.bias"]))
    head.load_state_dict(state)
    projection = head.to(dtype)(pooled)
    gradient = torch.autograd.grad(projection.square().sum(), pooled)[0]
    np.testing.assert_allclose(projection.detach(), arrays[f"out{precision}.projection"], **TOLERANCE[precision])
    np.testing.assert_allclose(gradient, arrays[f"grad{precision}.pooled"], **TOLERANCE[precision])


BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("path", golden_files("simclr_google*.npz"))
def test_head_of_google(path, mode):
    arrays = load(path)
    hidden = torch.from_numpy(arrays["head.in.hidden"]).requires_grad_()
    prefix = "head.param.head_contrastive/nl_"
    state = {}
    for key in [key for key in arrays if key.startswith(prefix)]:
        number, part, kind = key.removeprefix(prefix).split("/")
        value = torch.from_numpy(arrays[key])
        is_norm = part == "batch_normalization"
        state[f"norms.{number}.{BATCH_NORM[kind]}" if is_norm else f"layers.{number}.weight"] = (
            value if is_norm else value.T
        )
    last = max(int(name.split(".")[1]) for name in state)
    head = contrastive_head("google", hidden.shape[1], len(state[f"layers.{last}.weight"]))
    missing, unknown = head.load_state_dict(state, strict=False)
    assert not unknown
    assert {name for name in missing if not name.endswith("num_batches_tracked")} == {f"norms.{last}.bias"}
    projection = head.train(mode == "train")(hidden)
    weights = torch.linspace(-1, 1, projection.numel()).view_as(projection)
    gradient = torch.autograd.grad((weights * projection.square()).sum(), hidden)[0]
    np.testing.assert_allclose(projection.detach(), arrays[f"head_{mode}.out32.projection"], **TOLERANCE["32"])
    np.testing.assert_allclose(gradient, arrays[f"head_{mode}.grad32.hidden"], **TOLERANCE["32"])


@pytest.mark.parametrize("path", golden_files("simclr_google*.npz"))
def test_schedule_of_google(path):
    """A warm-up from 0, and a cosine to 0 behind it; its epochs are counted in whole steps, and one more is taken."""
    arrays = load(path)
    examples, batch, warmup, epochs, base = (
        arrays[f"schedule.hp.{name}"].item()
        for name in ("num_examples", "batch_size", "warmup_epochs", "epochs", "base_learning_rate")
    )
    steps = examples * epochs // batch + 1
    for scaling, factor in (("linear", batch / 256), ("sqrt", batch**0.5)):
        config = TrainingConfig(
            "simclr", learning_rate=base * factor, final_learning_rate=0.0, warmup_start=0.0,
            warmup_epochs=warmup * examples // batch, schedule="cosine",
        )  # fmt: skip
        wanted = arrays[f"schedule.out32.{scaling}"]
        rates = [learning_rate(config, int(step), steps, per_epoch=1) for step in wanted[:, 0]]
        np.testing.assert_allclose(rates, wanted[:, 1], rtol=2e-5, atol=1e-6)
