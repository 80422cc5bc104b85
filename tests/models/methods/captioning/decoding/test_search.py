"""Greedy and beam search against all texts of a tiny vocabulary."""

import itertools

import pytest
import torch

from models.methods.captioning.decoding.search import search

VOCABULARY, START, END, LENGTH = 4, 0, 3, 4


class Chain:
    """Each image has its own probabilities of a word behind the last two."""

    def __init__(self, images: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.logits = 2 * torch.randn(images, VOCABULARY, VOCABULARY, VOCABULARY, generator=generator)

    def begin(self, cells):
        rows = cells[:, 0, 0].long()
        return rows, torch.full_like(rows, START)

    def follow(self, state, words):
        rows, before = state
        return self.logits[rows, before, words], (rows, words)

    def score(self, image: int, text: tuple[int, ...]) -> float:
        before, last, total = START, START, 0.0
        for word in text:
            total += float(self.logits[image, before, last].double().log_softmax(-1)[word])
            before, last = last, word
        return total


def cells_of(images: int) -> torch.Tensor:
    return torch.arange(images).float()[:, None, None]


def ended(text: list[int]) -> tuple[int, ...]:
    return tuple(text[: text.index(END) + 1] if END in text else text)


def all_texts() -> set[tuple[int, ...]]:
    return {ended(list(text)) for text in itertools.product(range(1, VOCABULARY), repeat=LENGTH)}


@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_the_likeliest_of_all_texts(seed):
    chain = Chain(5, seed)
    found = search(chain, cells_of(5), START, END, LENGTH, beam=3**LENGTH, never=(START,)).tolist()
    for image, text in enumerate(found):
        scores = {text: chain.score(image, text) for text in all_texts()}
        assert ended(text) == max(scores, key=scores.__getitem__)


def test_a_beam_of_one_takes_the_likeliest_word_each_time():
    chain = Chain(6, 7)
    found = search(chain, cells_of(6), START, END, LENGTH, never=(START,)).tolist()
    for image, text in enumerate(found):
        before, last, expected = START, START, []
        while len(expected) < LENGTH and last != END:
            word = 1 + int(chain.logits[image, before, last, 1:].argmax())
            before, last = last, word
            expected.append(word)
        assert ended(text) == tuple(expected)


def test_more_beginnings_find_texts_that_are_no_less_likely():
    chain = Chain(40, 1)
    scores = []
    for beam in (1, 4, 64):
        found = search(chain, cells_of(40), START, END, LENGTH, beam).tolist()
        scores.append([chain.score(image, ended(text)) for image, text in enumerate(found)])
    best = [max(found) for found in zip(*scores, strict=True)]
    assert scores[2] == pytest.approx(best)
    assert sum(scores[1]) > sum(scores[0])


def test_an_image_has_the_text_that_it_has_alone():
    chain = Chain(4, 2)
    together = search(chain, cells_of(4), START, END, LENGTH, beam=3).tolist()
    alone = [search(chain, cells_of(4)[[image]], START, END, LENGTH, beam=3).tolist()[0] for image in range(4)]
    assert [ended(text) for text in together] == [ended(text) for text in alone]


def test_what_is_never_written_is_not():
    chain = Chain(8, 3)
    found = search(chain, cells_of(8), START, END, LENGTH, beam=2, never=(1, END))
    assert found.shape == (8, LENGTH)
    assert not torch.isin(found, torch.tensor([1, END])).any()
