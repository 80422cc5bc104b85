"""A normal frontal chest as a map of densities, different for every patient.

The chest frame has x from -1 (the patient's right, the image's left) to 1 and y from -1 (neck) to 1 (abdomen).
An image is a map of densities: 0 is air, 1 is soft tissue, bone and metal lie above.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

SIDES = {"right": -1.0, "left": 1.0}
LUNG_AXIS = 0.43  # distance of a lung's axis from the midline


def soft(distance: np.ndarray, width: float) -> np.ndarray:
    """Smooth step from 0 (distance << 0) to 1 (distance >> 0), `width` wide."""
    return 1.0 / (1.0 + np.exp(-np.clip(distance / width, -30.0, 30.0)))


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> np.ndarray:
    """Smooth noise of mean 0 and std about 1, with `cells` cells along each axis."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


@dataclass(frozen=True)
class Frame:
    """The chest frame on the image: coordinates of every pixel, turned, shifted and scaled with the patient."""

    x: np.ndarray
    y: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.x.shape  # type: ignore[return-value]

    @classmethod
    def place(cls, rng: np.random.Generator, height: int, width: int) -> Frame:
        """A patient on the detector: turned by some degrees, off centre, nearer or farther."""
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        y = (rows + 0.5) / height * 2 - 1
        x = ((columns + 0.5) / width * 2 - 1) * (width / height)
        angle = np.deg2rad(rng.normal(0, 2.5))
        scale = rng.uniform(0.92, 1.1)
        x, y = x - rng.normal(0, 0.04), y - rng.normal(0, 0.04)
        return cls(
            x=((np.cos(angle) * x + np.sin(angle) * y) / scale).astype(np.float32),
            y=((-np.sin(angle) * x + np.cos(angle) * y) / scale).astype(np.float32),
        )


@dataclass
class Chest:
    """One patient's proportions. Fields are lengths in the chest frame."""

    lung_width: float
    apex: float  # y of the lung apices
    dome: dict[str, float]  # y of each diaphragm dome
    heart_ratio: float  # cardiothoracic ratio
    heart_top: float
    obesity: float
    lung: dict[str, np.ndarray] = field(default_factory=dict)  # soft masks, by side
    heart: np.ndarray | None = None

    @classmethod
    def sample(cls, rng: np.random.Generator, heart_ratio: float) -> Chest:
        """A patient; lung volumes are low in some, and one diaphragm is raised in some."""
        base = rng.normal(0.5, 0.07) - (0.14 if rng.random() < 0.15 else 0.0)
        raised = rng.choice([-1, 0, 1], p=[0.06, 0.88, 0.06]) * 0.12
        return cls(
            lung_width=float(rng.normal(0.33, 0.02)),
            apex=float(rng.normal(-0.78, 0.03)),
            dome={
                "right": float(base - 0.03 - max(raised, 0)),
                "left": float(base + 0.03 + min(raised, 0)),
            },
            heart_ratio=heart_ratio,
            heart_top=float(rng.normal(-0.12, 0.04)),
            obesity=float(rng.uniform(0, 1)),
        )

    def floor(self, frame: Frame, side: str) -> np.ndarray:
        """y of the diaphragm under every pixel: a dome, falling to the costophrenic angle."""
        offset = (frame.x - SIDES[side] * (LUNG_AXIS - 0.05)) / self.lung_width
        return self.dome[side] + 0.2 * offset**2

    def wall(self, frame: Frame, side: str) -> np.ndarray:
        """Distance to the inner chest wall, positive inside the hemithorax (its medial border included)."""
        height = self.dome[side] + 0.25 - self.apex
        rise = np.clip((frame.y - self.apex) / height, 0.0, 1.0)
        half = self.lung_width * np.sqrt(np.clip(rise * 2.6, 0.0, 1.0)) * (0.88 + 0.14 * rise)
        centre = SIDES[side] * (LUNG_AXIS - 0.1 * (1 - rise) ** 2)
        inside = half - np.abs(frame.x - centre)
        return np.minimum(inside, (frame.y - self.apex) * 2.0)

    def shape_lungs(self, frame: Frame) -> None:
        """Fill `lung` with the aerated fields of both sides."""
        for side in SIDES:
            above = self.floor(frame, side) - frame.y
            self.lung[side] = soft(np.minimum(self.wall(frame, side), above), 0.012)

    def shape_heart(self, frame: Frame) -> None:
        """Fill `heart`: an oblique ellipse, more than half of it on the left."""
        half = self.heart_ratio * (LUNG_AXIS + self.lung_width)
        bottom = self.dome["left"] + 0.1
        centre_y, half_y = (self.heart_top + bottom) / 2, (bottom - self.heart_top) / 2
        across = (frame.x - 0.27 * half) + 0.22 * (frame.y - centre_y) * -1.0
        radius = np.sqrt((across / half) ** 2 + ((frame.y - centre_y) / half_y) ** 2)
        self.heart = soft((1 - radius) * half, 0.014)


def ribs(chest: Chest, frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Posterior ribs as tilted bands, fainter towards the midline."""
    tilt, spacing = rng.uniform(0.25, 0.5), rng.uniform(0.15, 0.18)
    across = np.abs(frame.x)
    phase = (frame.y - tilt * (across - 0.35) ** 2 - 0.1 * across + rng.uniform(0, spacing)) / spacing
    band = np.cos(2 * np.pi * phase)
    inside = soft(chest.lung_width * 2 + 0.16 - across, 0.03) * soft(across - 0.12, 0.05)
    return inside * soft(band - 0.55, 0.12) * soft(frame.y + 0.85, 0.05)


def vessels(chest: Chest, frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Lung markings: texture that is coarse and strong at the hila and fades outwards."""
    near = np.zeros(frame.shape, np.float32)
    for side, sign in SIDES.items():
        distance = np.hypot(frame.x - sign * 0.2, (frame.y + 0.02) * 0.8)
        near += chest.lung[side] * np.exp(-distance / 0.3)
    texture = 0.6 * noise(rng, frame.shape, 26) + 0.5 * noise(rng, frame.shape, 48)
    return near * np.clip(0.35 + texture, 0, None)


def normal_chest(chest: Chest, frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Densities of the healthy chest of this patient; fills the patient's lungs and heart."""
    chest.shape_lungs(frame)
    chest.shape_heart(frame)
    assert chest.heart is not None
    body = soft(0.95 + 0.1 * chest.obesity - np.abs(frame.x) - 0.25 * np.clip(-0.55 - frame.y, 0, 1) * 3, 0.03)
    tissue = body * (0.9 + 0.1 * noise(rng, frame.shape, 4))
    aerated = np.maximum(chest.lung["left"], chest.lung["right"])
    density = tissue * (1 - (0.62 - 0.1 * chest.obesity) * aerated)
    middle = soft(0.12 + 0.03 * (frame.y < -0.2) - np.abs(frame.x), 0.02) * body
    knob = soft(0.085 - np.hypot(frame.x - 0.12, frame.y + 0.33), 0.015)
    density = np.maximum(density, 0.92 * np.maximum(np.maximum(chest.heart, middle), knob) * body)
    density += 0.1 * chest.heart * aerated + 0.16 * vessels(chest, frame, rng)
    density += rng.uniform(0.08, 0.16) * ribs(chest, frame, rng) * body
    density += 0.13 * soft(0.045 - np.abs(frame.x), 0.012) * (1 + 0.2 * np.cos(frame.y * 40)) * body
    for sign in SIDES.values():  # clavicles
        bend = frame.y + 0.74 + 0.12 * (frame.x * sign - 0.3)
        density += 0.18 * soft(0.022 - np.abs(bend), 0.008) * soft(frame.x * sign - 0.08, 0.03) * body
    trachea = soft(0.032 - np.abs(frame.x - 0.01), 0.01) * soft(-0.3 - frame.y, 0.04)
    return (density - 0.2 * trachea * body).astype(np.float32)
