"""The findings of the simulator. Each changes the densities of the image and has a mask of the changed pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cohorts.phantom.anatomy import LUNG_AXIS, SIDES, Chest, Frame, noise, soft

COVERED = 0.15  # a mask covers pixels that change by more than this share of the full strength
ZONES = {"upper": (-0.55, -0.3), "mid": (-0.2, 0.02), "lower": (0.1, 0.34)}
NORMAL_RATIO, ENLARGED_RATIO = (0.46, 0.03), (0.565, 0.045)  # mean and std of the cardiothoracic ratio


@dataclass(frozen=True)
class Finding:
    """One finding. `strength` in 0..1 runs from barely visible to plain; below 0.35 it is subtle."""

    name: str
    side: str  # left, right, both; empty where it has no side
    zone: str  # upper, mid, lower; or the kind of a device; empty where it has none
    strength: float

    @property
    def subtle(self) -> bool:
        """Would a reader easily miss it?"""
        return self.strength < 0.35


Drawing = tuple[np.ndarray, np.ndarray]  # change of density, mask; both (height, width)


def _side_of(rng: np.random.Generator, both: float) -> str:
    return str(rng.choice(["left", "right", "both"], p=[(1 - both) / 2, (1 - both) / 2, both]))


def sample_finding(name: str, rng: np.random.Generator) -> Finding:
    """Where and how strongly `name` appears in a patient who has it."""
    strength = float(rng.beta(2.0, 1.3))
    zone = str(rng.choice(list(ZONES)))
    one_side = _side_of(rng, 0.0)
    match name:
        case "effusion":
            return Finding(name, _side_of(rng, 0.25), "lower", strength)
        case "pneumothorax":
            return Finding(name, one_side, "upper", strength)
        case "atelectasis":
            return Finding(name, _side_of(rng, 0.25), "lower", strength)
        case "cardiomegaly":
            return Finding(name, "", "", strength)
        case "edema":
            return Finding(name, "both", "", strength)
        case "line":
            return Finding(name, one_side, str(rng.choice(["jugular", "subclavian"])), strength)
        case "tube":
            return Finding(name, "", str(rng.choice(["endotracheal", "enteric"])), strength)
        case _:
            return Finding(name, one_side, zone, strength)


def sides(finding: Finding) -> list[str]:
    """The sides a finding lies on."""
    return list(SIDES) if finding.side == "both" else [finding.side]


def heart_ratio(findings: list[Finding], rng: np.random.Generator) -> float:
    """Cardiothoracic ratio: the two populations overlap a little, as they do in life."""
    enlarged = [finding for finding in findings if finding.name == "cardiomegaly"]
    if not enlarged:
        return float(np.clip(rng.normal(*NORMAL_RATIO), 0.38, 0.52))
    mean, std = ENLARGED_RATIO
    return float(np.clip(rng.normal(mean + 0.05 * (enlarged[0].strength - 0.5), std), 0.5, 0.72))


def _blob(
    frame: Frame, rng: np.random.Generator, centre: tuple[float, float], radius: float, rough: float
) -> np.ndarray:
    """A soft, irregular patch around `centre`."""
    aspect = rng.uniform(0.75, 1.3)
    distance = np.hypot((frame.x - centre[0]) * aspect, (frame.y - centre[1]) / aspect) / radius
    return soft(1 - distance + rough * noise(rng, frame.shape, 14), 0.12)


def _in_zone(finding: Finding, rng: np.random.Generator) -> tuple[float, float]:
    low, high = ZONES[finding.zone]
    return SIDES[finding.side] * (LUNG_AXIS + rng.uniform(-0.13, 0.16)), rng.uniform(low, high)


def stroke(frame: Frame, points: np.ndarray, width: float) -> np.ndarray:
    """A smooth stroke of half-width `width` along a polyline `(n, 2)` of x, y."""
    nearest = np.full(frame.shape, 9.0, np.float32)
    for (x0, y0), (x1, y1) in pairwise(points):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((frame.x - x0) * dx + (frame.y - y0) * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
        nearest = np.minimum(nearest, np.hypot(frame.x - x0 - along * dx, frame.y - y0 - along * dy))
    return soft(width - nearest, 0.004)


def draw_effusion(finding: Finding, chest: Chest, frame: Frame, rng: np.random.Generator) -> Drawing:
    """Fluid along the diaphragm with a meniscus that climbs the lateral wall; when small, a blunted angle."""
    shade = np.zeros(frame.shape, np.float32)
    for side in sides(finding):
        depth = 0.01 + 0.42 * finding.strength * rng.uniform(0.8, 1.2)
        lateral = np.clip((frame.x * SIDES[side] - LUNG_AXIS) / chest.lung_width + 0.4, 0, 1.4)
        level = chest.dome[side] + 0.16 - depth - 0.16 * lateral**2
        shade = np.maximum(shade, soft(frame.y - level, 0.03) * chest.lung[side])
    return 0.5 * rng.uniform(0.7, 1.0) * shade, shade > COVERED


def draw_pneumothorax(finding: Finding, chest: Chest, frame: Frame, rng: np.random.Generator) -> Drawing:
    """Air between chest wall and lung, widest at the apex, behind a thin pleural line."""
    side = finding.side
    gap = (0.045 + 0.15 * finding.strength) * np.clip(1.0 - (frame.y - chest.apex) / 1.05, 0.0, 1.0)
    margin = np.minimum(chest.wall(frame, side), (frame.y - chest.apex) * 0.8)
    space = chest.lung[side] * (gap > 0.015)  # below that the two pleural sheets touch
    air = soft(gap - margin, 0.006) * space
    line = np.exp(-(((margin - gap) / 0.008) ** 2)) * space
    lucency = -(0.05 + 0.14 * finding.strength) * air * rng.uniform(0.8, 1.2)
    return lucency + (0.05 + 0.14 * finding.strength) * line, np.maximum(air, line) > COVERED


def draw_consolidation(finding: Finding, chest: Chest, frame: Frame, rng: np.random.Generator) -> Drawing:
    """A patch of filled air spaces with a ragged border."""
    radius = rng.uniform(0.12, 0.24)
    patch = _blob(frame, rng, _in_zone(finding, rng), radius, 0.35) * chest.lung[finding.side]
    grain = 1 + 0.3 * noise(rng, frame.shape, 30)
    return (0.18 + 0.42 * finding.strength) * patch * np.clip(grain, 0.3, 1.7), patch > COVERED


def draw_nodule(finding: Finding, chest: Chest, frame: Frame, rng: np.random.Generator) -> Drawing:
    """A small round opacity with a sharp border."""
    x, y = _in_zone(finding, rng)
    radius = rng.uniform(0.055, 0.1)
    ball = soft(radius - np.hypot(frame.x - x, frame.y - y), 0.006) * chest.lung[finding.side]
    return (0.3 + 0.4 * finding.strength) * ball, ball > COVERED


def draw_edema(finding: Finding, chest: Chest, frame: Frame, rng: np.random.Generator) -> Drawing:
    """Perihilar haze and coarse interstitial markings on both sides."""
    haze = np.zeros(frame.shape, np.float32)
    for side, sign in SIDES.items():
        distance = np.hypot(frame.x - sign * 0.28, (frame.y - 0.05) * 0.7)
        haze = np.maximum(haze, np.exp(-((distance / 0.3) ** 2)) * chest.lung[side])
    streaks = np.abs(noise(rng, frame.shape, 44)) + np.abs(noise(rng, frame.shape, 30))
    amount = 0.03 + 0.22 * finding.strength
    return amount * haze * (0.55 + 0.45 * streaks), haze > 0.2


def draw_atelectasis(finding: Finding, chest: Chest, frame: Frame, rng: np.random.Generator) -> Drawing:
    """Plates of collapsed lung: bands above the diaphragm, thin when subtle."""
    bands = np.zeros(frame.shape, np.float32)
    for side in sides(finding):
        for _ in range(int(rng.integers(1, 4))):
            x = SIDES[side] * (LUNG_AXIS + rng.uniform(-0.12, 0.1))
            y = chest.dome[side] - rng.uniform(0.06, 0.22)
            half, tilt = rng.uniform(0.1, 0.2), rng.uniform(-0.35, 0.35)
            ends = np.array([[x - half, y - tilt * half], [x, y + 0.01], [x + half, y + tilt * half]])
            width = rng.uniform(0.02, 0.03) * (1 + finding.strength)
            bands = np.maximum(bands, stroke(frame, ends, width) * chest.lung[side])
    return (0.28 + 0.32 * finding.strength) * bands, bands > COVERED


def draw_cardiomegaly(finding: Finding, chest: Chest, frame: Frame, rng: np.random.Generator) -> Drawing:
    """The heart is a part of the chest already; its silhouette is the mask."""
    assert chest.heart is not None
    return np.zeros(frame.shape, np.float32), chest.heart > 0.5


def draw_line(finding: Finding, chest: Chest, frame: Frame, rng: np.random.Generator) -> Drawing:
    """A central venous line from the neck or the subclavian vein to the superior vena cava."""
    sign, tip = SIDES[finding.side], (-0.09 + rng.normal(0, 0.015), rng.uniform(-0.25, 0.02))
    if finding.zone == "jugular":
        start = [(sign * 0.2, -1.05), (sign * 0.14, -0.72)]
    else:
        start = [(sign * rng.uniform(0.6, 0.75), -0.68), (sign * 0.3, -0.7)]
    bend = [(-0.1 if sign < 0 else 0.0, -0.52), (-0.1, -0.4)]
    density = stroke(frame, np.array([*start, *bend, tip]), rng.uniform(0.013, 0.018))
    return (0.1 + 0.32 * finding.strength) * density, density > COVERED


def draw_tube(finding: Finding, chest: Chest, frame: Frame, rng: np.random.Generator) -> Drawing:
    """An endotracheal tube that ends above the carina, or an enteric tube that passes below the diaphragm."""
    drift = rng.normal(0, 0.015)
    if finding.zone == "endotracheal":
        points, width = [(drift, -1.1), (0.012, -0.8), (0.01 + drift, rng.uniform(-0.55, -0.4))], 0.022
    else:
        points, width = [(drift, -1.1), (0.02, -0.4), (0.05, 0.2), (0.16, 0.6), (0.3, 0.75)], 0.017
    density = stroke(frame, np.array(points), width)
    return (0.08 + 0.32 * finding.strength) * density, density > COVERED


DRAW: dict[str, Callable[[Finding, Chest, Frame, np.random.Generator], Drawing]] = {
    "effusion": draw_effusion,
    "pneumothorax": draw_pneumothorax,
    "consolidation": draw_consolidation,
    "cardiomegaly": draw_cardiomegaly,
    "nodule": draw_nodule,
    "edema": draw_edema,
    "atelectasis": draw_atelectasis,
    "line": draw_line,
    "tube": draw_tube,
}
