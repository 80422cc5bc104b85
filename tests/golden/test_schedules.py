"""The learning rates of the released code: MedKLIP's staircase, and torch's plateau on series of losses."""

from __future__ import annotations

import numpy as np
import pytest

from tests.golden.conftest import GOLDEN
from training.config import TrainingConfig
from training.schedule import learning_rate, reduced_rate


def load(name):
    path = GOLDEN / f"trajectory_{name}.npz"
    if not path.exists():
        return {}
    with np.load(path) as arrays:
        return {key: arrays[key] for key in arrays.files if ".hp." in key or ".in.loss" in key or key.endswith(".lr")}


MEDKLIP, GLORIA = load("medklip"), load("gloria")
SCHEDULES = [key.split(".")[0] for key in MEDKLIP if key.endswith(".out.lr")]
SERIES = [key.split(".")[0] for key in GLORIA if key.endswith(".in.loss")]


@pytest.mark.parametrize("name", SCHEDULES or [pytest.param("", marks=pytest.mark.skip("no golden trajectories"))])
def test_medklips_staircase(name):
    facts = {key.rpartition(".")[2]: MEDKLIP[key].item() for key in MEDKLIP if key.startswith(f"{name}.hp.")}
    config = TrainingConfig(
        "medklip", schedule="staircase", learning_rate=facts["lr"], final_learning_rate=facts["min_lr"],
        warmup_start=facts["warmup_lr"] / facts["lr"], stairs=facts["warmup_epochs"], stair_steps=facts["step_size"],
    )  # fmt: skip
    steps = facts["epochs"] * facts["steps_per_epoch"]
    wanted = MEDKLIP[f"{name}.out.lr"]
    rates = [learning_rate(config, step, steps, facts["steps_per_epoch"]) for step in range(len(wanted))]
    np.testing.assert_allclose(rates, wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", SERIES or [pytest.param("", marks=pytest.mark.skip("no golden trajectories"))])
def test_torchs_plateau(name):
    facts = {key.rpartition(".")[2]: GLORIA[key].item() for key in GLORIA if key.startswith(f"{name}.hp.")}
    config = TrainingConfig(
        "gloria", schedule="plateau", learning_rate=facts["lr"], final_learning_rate=facts["min_lr"],
        plateau_factor=facts["factor"], plateau_patience=facts["patience"],
    )  # fmt: skip
    losses = GLORIA[f"{name}.in.loss"].tolist()
    rates = [reduced_rate(config, losses[: number + 1]) for number in range(len(losses))]
    assert rates == GLORIA[f"{name}.out.lr"].tolist()  # behind each loss
