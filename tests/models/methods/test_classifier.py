"""The classifier against a literal loop over findings, and its options."""

from __future__ import annotations

import math

import pytest
import torch

from models.errors import ModelError
from models.method import Batch
from models.registry import build_method
from tests.models.tiny import ENTITIES, KNOWLEDGE, POSITIONS, SIZE, TINY, tiny_batch, tiny_method


def literal_loss(logits: torch.Tensor, targets: torch.Tensor, absent: bool) -> float:
    terms = []
    for row, of_row in zip(logits.tolist(), targets.tolist(), strict=True):
        for entity, logit in enumerate(row):
            said = {of_position[entity] for of_position in of_row}
            present = 1 in said
            if present or 0 in said or absent:
                terms.append(math.log1p(math.exp(-logit if present else logit)))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("unmentioned", ["absent", "left_out"])
def test_the_loss_is_the_mean_over_the_findings_that_count(unmentioned):
    method = tiny_method("classifier", unmentioned=unmentioned).eval()
    batch = tiny_batch(method, 6)
    encoded = method.encode(batch)
    assert encoded["logits"].shape == (6, len(ENTITIES))
    expected = literal_loss(encoded["logits"], batch.targets, unmentioned == "absent")
    assert method.contrast(encoded)["labels"].item() == pytest.approx(expected, rel=1e-5)


def test_a_finding_at_any_position_is_present():
    method = tiny_method("classifier").eval()
    targets = torch.full((1, len(POSITIONS), len(ENTITIES)), -1, dtype=torch.int8)
    targets[0, 1, 2], targets[0, 3, 2], targets[0, 0, 1] = 1, 0, 0
    labels = method.encode(Batch(torch.zeros(1, 1, SIZE, SIZE), targets=targets))["labels"]
    assert labels.tolist() == [[-1, 0, 1, -1]]


def test_the_logits_of_an_image_do_not_depend_on_the_batch():
    method = tiny_method("classifier").eval()
    batch = tiny_batch(method, 5)
    alone = torch.cat([method.encode(batch.part(slice(row, row + 1)))["logits"] for row in range(5)])
    torch.testing.assert_close(method.encode(batch)["logits"], alone, rtol=1e-4, atol=1e-6)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ModelError, match="`absent` or `left_out`, not `present`"):
        tiny_method("classifier", unmentioned="present")
    positions = [entry for entry in KNOWLEDGE if entry["kind"] == "position"]
    with pytest.raises(ModelError, match="has no entities"):
        build_method("classifier", TINY["classifier"], positions, SIZE)
