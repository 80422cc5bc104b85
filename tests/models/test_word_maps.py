"""Where words look: the words are those of the sentence, and their mean is the map of the sentence."""

import pytest
import torch

from models.registry import method_names
from tests.models.tiny import SIZE, tiny_method

SENTENCES = ["Small pleural effusion.", "Cardiomegaly: the HEART is unchanged"]
READERS = ("gloria", "mgca")


def noise():
    return torch.randint(0, 256, (2, 1, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", READERS)
@torch.no_grad()
def test_every_word_has_a_map(name):
    method = tiny_method(name, **({"prompts": 0} if name == "gloria" else {})).eval()
    found = method.word_maps(noise(), SENTENCES)
    assert found.words == [["small", "pleural", "effusion"], ["cardiomegaly", "the", "heart", "is", "unchanged"]]
    sums = found.maps.sum((2, 3))
    for row, words in enumerate(found.words):
        torch.testing.assert_close(sums[row, : len(words)], torch.ones(len(words)))
        assert not sums[row, len(words) :].any()
    located = method.zero_shot(noise(), SENTENCES).maps
    for row, words in enumerate(found.words):
        torch.testing.assert_close(found.maps[row].sum(0) / len(words), located[row, row])


@pytest.mark.parametrize("name", sorted(set(method_names()) - set(READERS)))
def test_other_methods_have_none(name):
    with pytest.raises(NotImplementedError, match="no attention of words"):
        tiny_method(name).word_maps(noise(), SENTENCES)


def test_words_that_were_never_trained_to_look_have_none():
    with pytest.raises(NotImplementedError):
        tiny_method("mgca", token_weight=0).word_maps(noise(), SENTENCES)
