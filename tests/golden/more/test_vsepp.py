"""Our VSE++ gives the numbers of its authors' code: losses, encoders, and gradients."""

import numpy as np
import pytest
import torch

from models.encoders.image import ImageFeatures
from models.losses.negatives.hinge import hinge
from models.losses.negatives.similarities import similarities
from models.method import Batch, Tokens
from models.methods.matching.vsepp import Vsepp, VseppConfig
from models.text.word_sequence import WordSequence
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
DTYPE = {"32": torch.float32, "64": torch.float64}
PRECISIONS = pytest.mark.parametrize("precision", ["32", "64"])


@PRECISIONS
@pytest.mark.parametrize("path", golden_files("vsepp_loss*.npz"))
def test_loss(path, precision):
    arrays = load(path)
    variants = sorted(key.removesuffix(".hp.margin") for key in arrays if key.endswith(".hp.margin"))
    assert variants
    for variant in variants:
        margin, hardest, measure = (
            arrays[f"{variant}.hp.{name}"].item() for name in ("margin", "max_violation", "measure")
        )
        images, texts = (
            torch.from_numpy(arrays[f"in.{name}"]).to(DTYPE[precision]).requires_grad_() for name in ("images", "texts")
        )
        pairs = (images.abs(), texts.abs()) if measure == "order" else (images, texts)
        scores = similarities(*pairs, measure)
        loss = hinge(scores, margin, int(hardest))
        gradients = torch.autograd.grad(loss, (images, texts))
        found = {"out.scores": scores, "out.loss": loss, "grad.images": gradients[0], "grad.texts": gradients[1]}
        for name, value in found.items():
            theirs = arrays[f"{variant}.{name.replace('.', f'{precision}.')}"]
            np.testing.assert_allclose(value.detach(), theirs, **TOLERANCE[precision], err_msg=f"{variant} {name}")


class Given(torch.nn.Module):
    """Stands for an encoder: its input is its pooled features."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, features):
        return ImageFeatures(features, features[:, None], (1, 1))


class OnFeatures(Vsepp):
    """Reads features in place of images."""

    def prepare(self, images):
        return images


OPTIONS = {"default": {}, "abs": {"absolute": True}, "no_imgnorm": {"normalise_images": False}}


@PRECISIONS
@pytest.mark.parametrize("path", golden_files("vsepp_encoders*.npz"))
def test_encoders(path, precision):
    arrays, dtype = load(path), DTYPE[precision]
    state = {
        **{key.replace("text.param.embed", "words"): value for key, value in arrays.items() if "param.embed" in key},
        **{key.replace("text.param.rnn", "cell"): value for key, value in arrays.items() if "param.rnn" in key},
    }
    words, ids = state["words.weight"], torch.from_numpy(arrays["in.ids"])
    mask = torch.arange(ids.shape[1]) < torch.from_numpy(arrays["in.lengths"])[:, None]
    for variant in sorted({key.split(".")[0] for key in arrays if f".out{precision}." in key}):
        config = VseppConfig(
            image_weights="", dimension=arrays["hp.embed_size"].item(), layers=arrays["hp.num_layers"].item(),
            word_width=words.shape[1], normalise_features=False, total="sum", margin=0.2, **OPTIONS[variant],
        )  # fmt: skip
        features = torch.from_numpy(arrays["in.features"]).to(dtype).requires_grad_()
        model = OnFeatures(config, Given(features.shape[1]), 0)
        model.text_encoder = WordSequence(len(words), words.shape[1], config.dimension, config.layers)
        model.text_encoder.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        model.image_projection.load_state_dict(
            {name: torch.from_numpy(arrays[f"image.param.fc.{name}"]) for name in ("weight", "bias")}
        )
        model = model.to(dtype)
        encoded = model.encode(Batch(features, Tokens(ids, mask)))
        (loss,) = model.contrast(encoded).values()
        loss.backward()
        named = {
            **{f"image.fc.{name}": weights for name, weights in model.image_projection.named_parameters()},
            **{
                f"text.{name.replace('words', 'embed').replace('cell', 'rnn')}": weights
                for name, weights in model.text_encoder.named_parameters()
            },
        }
        found = {
            f"out{precision}.images": encoded["images"], f"out{precision}.texts": encoded["texts"],
            f"out{precision}.loss": loss, f"grad{precision}.features": features.grad,
            **{f"grad{precision}.{name}": weights.grad for name, weights in named.items()},
        }  # fmt: skip
        wanted = tuple(f"{variant}.{kind}{precision}." for kind in ("out", "grad"))
        expected = {key for key in arrays if key.startswith(wanted)}
        assert {f"{variant}.{name}" for name in found} == expected
        for name, value in found.items():
            theirs = arrays[f"{variant}.{name}"]
            np.testing.assert_allclose(value.detach(), theirs, **TOLERANCE[precision], err_msg=f"{variant} {name}")
