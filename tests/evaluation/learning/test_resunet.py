"""MedKLIP's decoder against a literal one, its size on ResNet-50, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from evaluation.errors import EvaluationError
from evaluation.learning.resunet import DROPOUT, ResUNetDecoder
from evaluation.learning.segmenter import fit_and_score
from evaluation.learning.unet import RESUNET, Segmenter
from evaluation.tasks.segmentation import SegmentationSettings
from tests.evaluation.learning.test_segmenter import QUICK, splits
from tests.evaluation.small_method import SIZE, small_method
from tests.models.tiny import tiny_method


def block(state, name, place, x):
    """Convolution, batch norm with kept statistics, ReLU."""
    conv, norm = f"{name}.{place}", f"{name}.{place + 1}"
    x = F.conv2d(x, state[f"{conv}.weight"], state[f"{conv}.bias"], padding=1)
    mean, variance = (state[f"{norm}.running_{part}"][:, None, None] for part in ("mean", "var"))
    scaled = (x - mean) / (variance + 1e-5).sqrt()
    return (scaled * state[f"{norm}.weight"][:, None, None] + state[f"{norm}.bias"][:, None, None]).clamp(min=0)


def literal(decoder, image, maps):
    state = decoder.state_dict()
    x = block(state, "bridge", 3, block(state, "bridge", 0, maps[-1]))
    for number, skip in enumerate([*maps[-2::-1], image]):
        weight, bias = (state[f"steps.{number}.enlarge.{part}"] for part in ("weight", "bias"))
        rows, columns = x.shape[2:]
        enlarged = torch.zeros(len(x), weight.shape[1], 2 * rows, 2 * columns, dtype=x.dtype)
        for row in range(2):
            for column in range(2):
                values = torch.einsum("bcij,cd->bdij", x, weight[:, :, row, column])
                enlarged[:, :, row::2, column::2] = values + bias[:, None, None]
        joined = torch.cat([enlarged, skip], dim=1)
        x = block(state, f"steps.{number}.blocks", 3, block(state, f"steps.{number}.blocks", 0, joined))
    return x


def test_it_is_the_literal_decoder():
    torch.manual_seed(0)
    decoder = ResUNetDecoder(3, (4, 6, 8), width=2).double().eval()
    for name, tensor in decoder.state_dict().items():
        if "running" in name:
            tensor.uniform_(0.5, 1.5)
    maps = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4), torch.randn(2, 8, 2, 2)]
    image, maps = torch.randn(2, 3, 16, 16).double(), [one.double() for one in maps]
    torch.testing.assert_close(decoder(image, maps), literal(decoder, image, maps), rtol=0, atol=1e-9)
    assert decoder.dropout.p == DROPOUT == 0.2


def test_on_resnet50_to_its_third_stage_it_has_the_channels_of_medklip():
    decoder = ResUNetDecoder(3, (64, 256, 512, 1024), width=64)
    steps = [
        (step.enlarge.in_channels, step.enlarge.out_channels, step.blocks[0].in_channels, step.blocks[3].out_channels)
        for step in decoder.steps
    ]
    assert steps == [(1024, 512, 1024, 512), (512, 256, 512, 256), (256, 128, 192, 128), (128, 64, 67, 64)]
    assert decoder.bridge[3].out_channels == 1024


def test_sides_that_cannot_be_halved():
    decoder = ResUNetDecoder(1, (2, 2), width=2)
    assert decoder(torch.zeros(2, 1, 15, 13), [torch.zeros(2, 2, 8, 7), torch.zeros(2, 2, 4, 4)]).shape == (
        2,
        2,
        15,
        13,
    )


@pytest.mark.parametrize("tuned", [False, True])
def test_it_learns_what_is_there(tuned):
    config = replace(QUICK, decoder=RESUNET, loss="medklip", width=8)
    values = fit_and_score(small_method(), *splits(), "square", config, 0, tuned=tuned, resamples=5)
    assert values[0].metric == "dice"
    assert values[0].value > 0.8


def test_the_head_is_one_by_one_and_reads_the_prepared_image():
    segmenter = Segmenter(small_method(), [(8, 8, 8), (16, 4, 4)], 6, RESUNET)
    assert segmenter.head[0].kernel_size == (1, 1)
    for side in (SIZE, 22, 10):
        assert segmenter(torch.zeros(2, 1, side, side, dtype=torch.uint8)).shape == (2, 1, side, side)
    assert segmenter.decoder.steps[-1].blocks[0].in_channels == 6 + 1
    medklip = tiny_method("medklip", channels=3)
    shapes = [maps.shape[1:] for maps in medklip.image_maps(torch.zeros(1, 1, medklip.size, medklip.size))]
    assert Segmenter(medklip, shapes, 6, RESUNET).decoder.steps[-1].blocks[0].in_channels == 6 + 3


def test_a_single_map_keeps_its_decoder():
    segmenter = Segmenter(small_method(single=True), [(16, 4, 4)], 6, RESUNET)
    assert not isinstance(segmenter.decoder, ResUNetDecoder)
    assert segmenter(torch.zeros(2, 1, SIZE, SIZE, dtype=torch.uint8)).shape == (2, 1, SIZE, SIZE)


def test_another_decoder_is_one_sentence():
    with pytest.raises(EvaluationError, match="decoder is `u-net`, but must be one of unet, resunet"):
        SegmentationSettings(decoder="u-net")
