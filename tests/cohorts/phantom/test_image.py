"""What is simulated lies under its mask, on the side it is said to lie on."""

import numpy as np
import pytest

from cohorts.phantom.anatomy import Chest, Frame, normal_chest
from cohorts.phantom.config import FINDINGS, PhantomConfig
from cohorts.phantom.findings import DRAW, Finding, heart_ratio, sample_finding
from cohorts.phantom.image import sample_findings, simulate_image

SIDED = ("effusion", "pneumothorax", "consolidation", "nodule", "atelectasis")


def drawing(finding: Finding, seed: int) -> tuple[Frame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    frame = Frame.place(rng, 128, 128)
    chest = Chest.sample(rng, heart_ratio([finding], rng))
    normal_chest(chest, frame, rng)
    return frame, *DRAW[finding.name](finding, chest, frame, rng)


@pytest.mark.parametrize("name", FINDINGS)
@pytest.mark.parametrize("seed", range(6))
def test_the_mask_covers_what_is_drawn(name, seed):
    finding = sample_finding(name, np.random.default_rng(seed))
    _, change, mask = drawing(finding, seed)
    simulated = np.abs(change)
    if simulated.max() > 0:
        assert simulated[~mask].max() <= 0.5 * simulated.max()
        assert simulated[mask].sum() > 0.85 * simulated.sum()


@pytest.mark.parametrize("name", SIDED)
@pytest.mark.parametrize(("side", "sign"), [("left", 1), ("right", -1)])
def test_a_left_finding_lies_on_the_image_s_right(name, side, sign):
    """As on every frontal image: the patient's left is on the viewer's right."""
    for seed in range(5):
        frame, _, mask = drawing(Finding(name, side, "lower" if name != "pneumothorax" else "upper", 0.9), seed)
        assert mask.any()
        assert (frame.x[mask] * sign).mean() > 0.1


def test_findings_vary_and_may_be_none():
    rng = np.random.default_rng(0)
    counts = [len(sample_findings(PhantomConfig(), rng)) for _ in range(400)]
    assert min(counts) == 0
    assert max(counts) >= 4


def test_an_enlarged_heart_is_wider():
    rng = np.random.default_rng(0)
    enlarged = Finding("cardiomegaly", "", "", 0.5)
    wide = [heart_ratio([enlarged], rng) for _ in range(50)]
    normal = [heart_ratio([], rng) for _ in range(50)]
    assert min(wide) >= 0.5
    assert max(normal) <= 0.52
    assert np.mean(wide) - np.mean(normal) > 0.07


def test_pixels_are_12_bit():
    image = simulate_image(PhantomConfig(height=96), [], np.random.default_rng(3))
    assert image.pixels.dtype == np.uint16
    assert image.pixels.max() <= 4095
    assert image.masks == {}
