"""Nothing in the evaluation is pinned to the CPU: networks predict and train on a device that only pretends to be one.

A forgotten `.to(device)` mixes tensors of two devices, or runs a network's operation on the CPU. Both raise. The device
changes torch for the whole process, so `tests/evaluation/test_device.py` runs this file in a process of its own.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evaluation.dataset import Images
from evaluation.errors import NotAvailableError
from evaluation.figures.attention import compute_selected_regions, compute_word_attention
from evaluation.inference import bind_queries, predict_batches
from evaluation.learning import classifier, detector, segmenter
from evaluation.learning.annotated import LabelledImages, MaskedImages
from evaluation.tasks import grading
from evaluation.tasks.base import NEVER
from evaluation.tasks.detection import DetectionSettings
from evaluation.tasks.fine_tune import FineTuneSettings
from evaluation.tasks.registry import task, task_names
from evaluation.tasks.segmentation import SegmentationSettings
from models.compute import Compute
from models.registry import method_names
from tests.evaluation.learning.test_detector import squares
from tests.evaluation.pretended.device import pretended_device
from tests.evaluation.small_method import MARK, images, small_method
from tests.models.tiny import SIZE, tiny_method

TEXTS = ["left pleural effusion", "no nodule"]
PIXELS = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE), np.uint8)
PREDICTIONS = {
    "zero_shot": lambda method: bind_queries(method, ["effusion", "nodule"]),
    "image_features": lambda method: lambda images: [method.image_features(images)],
    "image_maps": lambda method: method.image_maps,
    "embeddings": lambda method: lambda images: [method.embed_images(images)],
    "similarities": lambda method: lambda images: [method.similarity(images, TEXTS)],
    "phrases": lambda method: lambda images: [method.phrase_maps(images, TEXTS)],
}
FIGURES = {"word_attention": compute_word_attention, "selected_regions": compute_selected_regions}


def everything(method):
    """Every prediction and figure that the method has, as arrays."""
    found = {}
    for name, prepare in PREDICTIONS.items():
        try:
            found[name] = predict_batches(method, PIXELS, prepare(method))
        except NotAvailableError:
            found[name] = []
    for name, compute in FIGURES.items():
        try:
            found[name] = [compute(method, PIXELS, TEXTS).maps]
        except NotAvailableError:
            found[name] = []
    return found


@pytest.mark.parametrize("name", method_names())
def test_every_prediction_of_every_method_is_made_on_its_device(name):
    expected = everything(tiny_method(name).eval())
    method = tiny_method(name).eval()
    with pretended_device() as device:
        found = everything(Compute(device).place(method))
        assert method.device == torch.device(device)
    for kind, arrays in expected.items():
        for one, other in zip(arrays, found[kind], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=kind)


def learn(name, method):
    """The values of a task that trains, after a few steps."""
    few = {"maximum_steps": 3, "batch_size": 8}
    if name == "detection":
        parts = [squares(16, seed) for seed in (1, 2, 3)]
        return detector.fit_and_score(method, *parts, DetectionSettings(**few, width=8), repeat=0, resamples=5)
    pixels, subjects, bright = PIXELS_TO_LEARN
    parts = [Images.of_array(pixels[place], subjects[place]) for place in SPLITS]
    if name.startswith("segmentation"):
        masks = np.zeros(pixels.shape, bool)
        masks[bright, MARK, MARK] = True
        parts = [MaskedImages(part, masks[place]) for part, place in zip(parts, SPLITS, strict=True)]
        options, tuned = SegmentationSettings(**few), name.endswith("tuned")
        return segmenter.fit_and_score(method, *parts, "square", options, repeat=0, tuned=tuned, resamples=5)
    labels = np.stack([bright, ~bright], axis=1).astype(np.float32)
    parts = [LabelledImages(part, labels[place]) for part, place in zip(parts, SPLITS, strict=True)]
    options = FineTuneSettings(**few, head_first=True, rotation=10, brightness=0.1, horizontal_flip=0.5)
    score = grading.fit_and_score if name == "grading" else classifier.fit_and_score
    return score(method, *parts, ["square", "none"], options, repeat=0, resamples=5)


SPLITS = (slice(0, 16), slice(16, 24), slice(24, 40))
PIXELS_TO_LEARN = (*images(40, 0)[:1], np.array([str(row) for row in range(40)]), images(40, 0)[1])
TRAINING = {"fine_tune", "grading", "detection", "segmentation", "segmentation, tuned"}


def test_every_task_that_trains_a_network_is_among_those_tried_here():
    learning = {name for name in task_names() if task(name).learning != NEVER}
    assert {name.partition(",")[0] for name in TRAINING} | {"linear_probe"} == learning  # that one trains no network


@pytest.mark.parametrize("name", sorted(TRAINING))
def test_every_task_that_trains_does_so_on_the_networks_device(name):
    expected = learn(name, small_method())
    method = small_method()
    with pretended_device() as device:
        found = learn(name, Compute(device).place(method))
    assert [value.metric for value in found] == [value.metric for value in expected]
    values = [[value.value for value in part] for part in (found, expected)]
    assert values[0] == pytest.approx(values[1], abs=1e-3)


def test_the_device_refuses_what_a_gpu_refuses():
    weights, images = torch.ones(2, 1, 3, 3), torch.ones(1, 1, 4, 4)
    with pretended_device() as device:
        with pytest.raises(AssertionError, match="mixes tensors"):
            torch.conv2d(images, weights.to(device))
        with pytest.raises(AssertionError, match="ran on the CPU"):
            torch.conv2d(images, weights)
        assert torch.conv2d(images.to(device), weights.to(device)).cpu().tolist() == [[[[9.0] * 2] * 2] * 2]
