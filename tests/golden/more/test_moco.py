"""Our MoCo takes the steps of the authors' code: losses, logits, queue, gradients, and both networks at the end."""

import numpy as np
import pytest
import torch
from torch import nn

from models.encoders.image import ImageFeatures
from models.losses.negatives.queue_contrast import queue_logits
from models.method import Batch
from models.methods.images_only.moco import Moco, MocoConfig
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
DTYPE = {"32": torch.float32, "64": torch.float64}


class Stub(nn.Module):
    """The small encoder of the files: linear, batch norm, ReLU."""

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.body, self.dim = nn.Sequential(nn.Linear(inputs, dim), nn.BatchNorm1d(dim), nn.ReLU()), dim

    def forward(self, rows: torch.Tensor) -> ImageFeatures:
        pooled = self.body(rows)
        return ImageFeatures(pooled, pooled[:, None], (1, 1))


class OnRows(Moco):
    """Reads rows of numbers in place of images."""

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        return images


def part(arrays, prefix):
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def ours(name):
    """The name of a weight of theirs: `body` is the encoder, `fc` the head."""
    encoder, head = ("image_encoder.body", "head")
    return name.replace("body", encoder, 1) if name.startswith("body") else name.replace("fc", head, 1)


def keys_of(name):
    return ours(name).replace("image_encoder.", "key_encoder.").replace("head.", "key_head.")


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("moco_steps*.npz"))
def test_steps(path, precision):
    arrays, dtype = load(path), DTYPE[precision]
    variants = sorted(key.removesuffix(".hp.m") for key in arrays if key.endswith(".hp.m"))
    assert variants
    for variant in variants:
        momentum, temperature, mlp, size, rate = (
            arrays[f"{variant}.hp.{name}"].item() for name in ("m", "T", "mlp", "K", "lr")
        )
        state = {name: torch.from_numpy(value) for name, value in part(arrays, f"{variant}.param.").items()}
        dim, inputs = state["body.0.weight"].shape
        queue = torch.from_numpy(arrays[f"{variant}.in.queue"]).T
        config = MocoConfig(
            image_weights="", head="mlp" if mlp else "linear", dimension=queue.shape[1], temperature=temperature,
            queue=size, key_momentum=momentum,
        )  # fmt: skip
        method = OnRows(config, Stub(inputs, dim), 0).to(dtype).train()
        both = {ours(name): value for name, value in state.items()} | {
            keys_of(name): value for name, value in state.items()
        }
        method.load_state_dict({**method.state_dict(), **both, "queue.keys": queue})
        check_steps(method, rate, arrays, variant, precision)


def check_steps(method, rate, arrays, variant, precision):
    trained = [weights for weights in method.parameters() if weights.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=rate, momentum=0.9, weight_decay=1e-4)
    theirs = part(arrays, f"{variant}.out{precision}.")

    def compare(found, expected, name):
        np.testing.assert_allclose(found.detach(), expected, **TOLERANCE[precision], err_msg=f"{variant} {name}")

    for step, (queries, keys) in enumerate(zip(arrays["in.query_input"], arrays["in.key_input"], strict=True)):
        images, views = (torch.from_numpy(rows).to(DTYPE[precision]) for rows in (queries, keys))
        method.on_step_start()
        encoded = method.encode(Batch(images, views=views))
        logits = queue_logits(encoded["queries"], encoded["keys"], method.queue.keys, method.config.temperature)
        compare(logits, theirs[f"step{step}.logits"], f"logits of step {step}")
        (loss,) = method.contrast(encoded).values()
        compare(loss, theirs[f"step{step}.loss"], f"loss of step {step}")
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            gradients = part(arrays, f"{variant}.grad{precision}.")
            assert gradients
            for name, value in gradients.items():
                compare(method.get_parameter(ours(name)).grad, value, f"gradient of {name}")
        optimizer.step()
        method.on_step_end()
        compare(method.queue.keys.T, theirs[f"step{step}.queue"], f"queue of step {step}")
        assert method.queue.place.item() == theirs[f"step{step}.queue_ptr"].item()
    for prefix, name_of in (("encoder_q.", ours), ("encoder_k.", keys_of)):
        found = part(theirs, prefix)
        assert found
        for name, value in found.items():
            compare(method.state_dict()[name_of(name)], value, prefix + name)
