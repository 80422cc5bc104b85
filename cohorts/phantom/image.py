"""From a patient and the findings to a 12-bit image: distractors, exposure, collimation and noise come last."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cohorts.phantom.anatomy import LUNG_AXIS, SIDES, Chest, Frame, normal_chest, soft
from cohorts.phantom.config import FINDINGS, PhantomConfig
from cohorts.phantom.findings import DRAW, Finding, heart_ratio, sample_finding, stroke

FULL_SCALE = 4095  # 12 bits stored


@dataclass(frozen=True)
class SimulatedImage:
    """A simulated radiograph, bright where the chest is dense (MONOCHROME2)."""

    pixels: np.ndarray  # (height, width) uint16, 12 bits
    findings: tuple[Finding, ...]
    masks: dict[str, np.ndarray]  # (height, width) bool, by finding


def sample_findings(config: PhantomConfig, rng: np.random.Generator) -> list[Finding]:
    """The findings of a patient: none in many patients, several at once in others."""
    if rng.random() < 0.2:
        return []
    probability = config.prevalence / 0.8
    present = [name for name in FINDINGS if rng.random() < probability]
    return [sample_finding(name, rng) for name in present]


def simulate_image(config: PhantomConfig, findings: list[Finding], rng: np.random.Generator) -> SimulatedImage:
    """Simulate one image. The mask of a finding covers everything that shows it."""
    width = int(config.height * rng.uniform(0.88, 1.06))
    frame = Frame.place(rng, config.height, width)
    chest = Chest.sample(rng, heart_ratio(findings, rng))
    density = normal_chest(chest, frame, rng)
    density += distractors(chest, frame, rng)
    masks = {}
    for finding in findings:
        change, mask = DRAW[finding.name](finding, chest, frame, rng)
        density += change
        if mask.any():
            masks[finding.name] = mask
    visible = tuple(finding for finding in findings if finding.name in masks)
    return SimulatedImage(expose(density, rng), visible, masks)


def distractors(chest: Chest, frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Densities of what real images show beside findings: soft tissue, leads, a pacemaker, clips, nipples, folds."""
    extra = np.zeros(frame.shape, np.float32)
    if rng.random() < 0.4:  # breasts or fat: a haze over both bases
        for sign in SIDES.values():
            distance = np.hypot((frame.x - sign * 0.5) / 0.36, (frame.y - 0.3) / 0.26)
            extra += rng.uniform(0.04, 0.16) * soft(1 - distance, 0.12)
    if rng.random() < 0.2:  # nipple shadows
        for sign in SIDES.values():
            distance = np.hypot(frame.x - sign * rng.uniform(0.45, 0.55), frame.y - rng.uniform(0.22, 0.34))
            extra += rng.uniform(0.03, 0.1) * soft(0.035 - distance, 0.012)
    if rng.random() < 0.25:  # a skin fold, much like a pleural line
        sign = rng.choice(list(SIDES.values()))
        x = sign * rng.uniform(0.5, 0.68)
        fold = frame.x - x - 0.15 * (frame.y + rng.uniform(-0.2, 0.4))
        extra += rng.uniform(0.04, 0.09) * soft(fold * sign, 0.008) * soft(0.1 - fold * sign, 0.05)
    if rng.random() < 0.35:
        extra += electrodes(frame, rng)
    if rng.random() < 0.08:  # a pacemaker with its lead
        box = np.maximum(np.abs(frame.x - 0.5), np.abs(frame.y + 0.5) * 1.2)
        extra += 0.5 * soft(0.075 - box, 0.006)
        lead = np.array([(0.5, -0.5), (0.2, -0.55), (-0.06, -0.3), (-0.05, 0.2), (0.15, 0.35)])
        extra += 0.3 * stroke(frame, lead, 0.008)
    if rng.random() < 0.12:  # clips and calcified granulomas: denser and smaller than nodules
        for _ in range(int(rng.integers(1, 4))):
            x, y = rng.uniform(-0.7, 0.7), rng.uniform(-0.5, 0.4)
            extra += rng.uniform(0.2, 0.4) * soft(0.014 - np.hypot(frame.x - x, frame.y - y), 0.004)
    return extra


def electrodes(frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Monitoring electrodes with wires that cross the chest."""
    extra = np.zeros(frame.shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(-LUNG_AXIS * 1.6, LUNG_AXIS * 1.6), rng.uniform(-0.5, 0.5)
        bend = (x * 0.6 + rng.normal(0, 0.1), (y + 1.1) / 2)
        wire = np.array([(x, y), bend, (rng.uniform(-0.6, 0.6), 1.1)])
        extra += rng.uniform(0.1, 0.2) * stroke(frame, wire, 0.007)
        extra += 0.16 * soft(0.03 - np.hypot(frame.x - x, frame.y - y), 0.006)
    return extra


def expose(density: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Density to 12-bit signal: exposure, contrast, scatter blur, quantum noise and collimation."""
    scatter = cv2.GaussianBlur(density, (0, 0), density.shape[0] * 0.08)
    blurred = cv2.GaussianBlur(density, (0, 0), rng.uniform(0.4, 0.9))
    mixed = blurred + rng.uniform(0.05, 0.25) * (scatter - blurred)
    signal = np.clip(0.08 + mixed * rng.uniform(0.58, 0.76), 0, 1.1) ** rng.uniform(0.85, 1.25)
    signal += rng.normal(0, rng.uniform(0.006, 0.02), signal.shape)
    offset = rng.uniform(-0.03, 0.08)
    signal = (signal + offset) * rng.uniform(0.75, 1.05)
    if rng.random() < 0.3:  # collimated borders
        top, side = rng.integers(0, density.shape[0] // 16, size=2)
        signal[:top] = signal[density.shape[0] - top :] = 0
        signal[:, :side] = 0
    return (np.clip(signal, 0, 1) * FULL_SCALE).astype(np.uint16)
