"""Contrast of images and sentences against loops over the sentences of every report."""

import math

import pytest
import torch

from models.losses.contrast.sentence_contrast import repeated_elsewhere, sentence_contrast
from models.losses.info_nce import matched_pairs

# What is said in each report; a name stands for a sentence.
REPORTS = [["large heart", "no effusion"], ["no effusion", "clear lungs", "no effusion"], ["nodule"]]
NAMES = sorted({name for report in REPORTS for name in report})


def given(reports=REPORTS, seed=0):
    """Logits, what is there, and ids of one token per sentence."""
    most = max(map(len, reports))
    ids = torch.tensor([[NAMES.index(name) for name in (report + [NAMES[0]] * most)[:most]] for report in reports])
    present = torch.arange(most) < torch.tensor([len(report) for report in reports])[:, None]
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(reports), len(reports) * most, generator=generator, dtype=torch.float64)
    return logits, present, ids[..., None]


def literal(logits, reports, masked, each):
    """Both losses, one image and one sentence at a time."""
    most = max(map(len, reports))
    score = {
        (image, report, place): float(logits[image, report * most + place])
        for image in range(len(reports))
        for report in range(len(reports))
        for place in range(len(reports[report]))
    }

    def counts(image, report, place):
        return image == report or not masked or reports[report][place] not in reports[image]

    to_sentences, to_images = [], []
    for image, own in enumerate(reports):
        others = [math.exp(score[key]) for key in score if key[0] == image and counts(*key)]
        mine = [score[image, image, place] for place in range(len(own))]
        if each:
            to_sentences.append(sum(math.log(sum(others)) - value for value in mine) / len(mine))
        else:
            to_sentences.append(math.log(sum(others)) - math.log(sum(map(math.exp, mine))))
        for place in range(len(own)):
            rows = [
                math.exp(score[other, image, place]) for other in range(len(reports)) if counts(other, image, place)
            ]
            to_images.append(math.log(sum(rows)) - score[image, image, place])
    return sum(to_sentences) / len(to_sentences), sum(to_images) / len(to_images)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_losses_are_those_of_the_loops(masked, each):
    logits, present, ids = given()
    excluded = repeated_elsewhere(ids, present) if masked else None
    found = [loss.item() for loss in sentence_contrast(logits, present, excluded, each)]
    assert found == pytest.approx(literal(logits, REPORTS, masked, each), abs=1e-12)


def test_a_sentence_of_another_report_that_the_own_one_has_too_is_found():
    _, present, ids = given()
    expected = [
        [name in REPORTS[image] and place < len(REPORTS[report]) for report in range(3)
         for place, name in enumerate((REPORTS[report] + [""] * 3)[:3])]
        for image in range(3)
    ]  # fmt: skip
    assert repeated_elsewhere(ids, present).tolist() == expected


def test_an_image_does_not_see_a_repeated_sentence_of_another_report():
    reports = [["large heart", "no effusion"], ["no effusion", "clear lungs"]]
    logits, present, ids = given(reports)
    masked, as_negatives = (
        sentence_contrast(logits, present, excluded)[0] for excluded in (repeated_elsewhere(ids, present), None)
    )
    first = logits[0, [0, 1, 3]].logsumexp(0) - logits[0, :2].logsumexp(0)  # as if the third were not there
    second = logits[1, [0, 2, 3]].logsumexp(0) - logits[1, 2:].logsumexp(0)
    assert masked.item() == pytest.approx(((first + second) / 2).item())
    assert masked < as_negatives


def test_the_order_of_sentences_changes_nothing():
    logits, present, ids = given()
    excluded = repeated_elsewhere(ids, present)
    order = torch.tensor([1, 0, 2, 5, 3, 4, 6, 7, 8])
    turned = sentence_contrast(logits[:, order], present.flatten()[order].view(3, 3), excluded[:, order])
    torch.testing.assert_close(turned, sentence_contrast(logits, present, excluded))


def test_one_sentence_each_is_the_loss_of_pairs():
    logits = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = sentence_contrast(logits, torch.ones(4, 1, dtype=torch.bool))
    for loss, weights in zip(found, ((1, 0), (0, 1)), strict=True):
        torch.testing.assert_close(loss, matched_pairs(logits, *weights))


def test_what_is_not_there_has_no_gradient():
    logits, present, ids = given()
    logits.requires_grad_()
    sum(sentence_contrast(logits, present, repeated_elsewhere(ids, present))).backward()
    assert (logits.grad[:, ~present.flatten()] == 0).all()
    assert (logits.grad[0, 3] == 0).all()  # no effusion, of the second report
    assert logits.grad[0, 4] != 0


@pytest.mark.parametrize("each", [False, True])
def test_gradients(each):
    logits, present, ids = given()
    excluded = repeated_elsewhere(ids, present)
    torch.autograd.gradcheck(lambda given: sentence_contrast(given, present, excluded, each), logits.requires_grad_())
