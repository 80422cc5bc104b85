"""Our ConVIRT, set to the code of ConVIRT-pytorch, gives the numbers of that code."""

import numpy as np
import pytest
import torch

from models.losses.info_nce import info_nce, pair_logits
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
DTYPE = {"32": torch.float32, "64": torch.float64}


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("convirt_ntxent*.npz"))
def test_contrast(path, precision):
    arrays = load(path)
    variants = sorted(key.split(".hp.")[0] for key in arrays if key.endswith(".hp.temperature"))
    assert variants
    for variant in variants:
        images, texts = (
            torch.from_numpy(arrays.get(f"{variant}.in.{name}", arrays.get(f"in.{name}")))
            .to(DTYPE[precision])
            .requires_grad_()
            for name in ("zis", "zjs")
        )
        weight, temperature = (float(arrays[f"{variant}.hp.{name}"]) for name in ("alpha_weight", "temperature"))
        normalise = bool(arrays[f"{variant}.hp.norm"])
        logits = pair_logits(images, texts, temperature, normalise)
        loss = info_nce(images, texts, temperature, weight, normalise=normalise)
        gradients = torch.autograd.grad(loss, (images, texts))
        ours = {
            "out.loss": loss,
            "out.loss_a": info_nce(images, texts, temperature, 1, normalise=normalise),
            "out.loss_b": info_nce(images, texts, temperature, 0, normalise=normalise),
            "out.logits_ab": logits,
            "out.logits_ba": logits.T,
            "grad.zis": gradients[0],
            "grad.zjs": gradients[1],
        }
        for name, value in ours.items():
            theirs = arrays[f"{variant}.{name.replace('.', precision + '.')}"]
            np.testing.assert_allclose(value.detach(), theirs, **TOLERANCE[precision], err_msg=f"{variant} {name}")
