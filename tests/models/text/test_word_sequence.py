"""Recurrent towers: the recurrence as written, the last token whatever follows it, and fingerprints of texts."""

import pytest
import torch

from models.errors import ModelError
from models.method import Tokens
from models.text.fingerprints import fingerprints
from models.text.sru import SRU, SruLayer, linear_recurrence
from models.text.tokenizer import pad_together
from models.text.word_sequence import CELLS, WordSequence

TEXTS = [[5, 3, 8, 1], [2, 7], [4, 4, 4, 4, 4, 9, 6], [1]]


@pytest.mark.parametrize("length", [1, 2, 5, 8, 13])
def test_the_recurrence_is_the_one_step_after_another(length):
    torch.manual_seed(0)
    factors, terms = torch.rand(2, length, 3, dtype=torch.float64), torch.randn(2, length, 3, dtype=torch.float64)
    state, expected = torch.zeros(2, 3, dtype=torch.float64), []
    for step in range(length):
        state = factors[:, step] * state + terms[:, step]
        expected.append(state)
    torch.testing.assert_close(linear_recurrence(factors, terms), torch.stack(expected, 1), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("inputs", [3, 4])
def test_a_layer_is_its_equations(inputs):
    torch.manual_seed(0)
    layer, words = SruLayer(inputs, 4).double(), torch.randn(2, 5, inputs, dtype=torch.float64)
    with torch.no_grad():
        layer.gate_bias.normal_()
    state = torch.zeros(2, 4, dtype=torch.float64)
    parts = layer.products.weight.split(4)
    for step in range(5):
        word = words[:, step]
        candidate, forget, reset = (word @ part.T for part in parts[:3])
        forget, reset = torch.sigmoid(forget + layer.gate_bias[0]), torch.sigmoid(reset + layer.gate_bias[1])
        state = forget * state + (1 - forget) * candidate
        beside = word if inputs == 4 else word @ parts[3].T
        expected = reset * torch.tanh(state) + (1 - reset) * beside
        torch.testing.assert_close(layer(words)[:, step], expected)
    assert torch.autograd.gradcheck(layer, words.requires_grad_())


def test_dropout_is_before_each_layer_in_training_alone():
    torch.manual_seed(0)
    tower, words = SRU(3, 4, 2, dropout=0.5), torch.randn(1, 6, 3)
    assert not torch.equal(tower(words), tower(words))
    assert torch.equal(tower.eval()(words), tower(words))


@pytest.mark.parametrize("cell", CELLS)
def test_a_text_is_what_it_is_alone(cell):
    torch.manual_seed(0)
    tower = WordSequence(10, 3, 4, layers=2, cell=cell).double().eval()
    together = tower(pad_together(TEXTS, pad=0))
    for text, vector in zip(TEXTS, together, strict=True):
        torch.testing.assert_close(tower(pad_together([text], pad=0))[0], vector, rtol=1e-12, atol=1e-14)
    assert not torch.allclose(tower(pad_together([TEXTS[0][:3]], pad=0))[0], together[0])


def test_states_are_computed_in_single_precision():
    tower = WordSequence(10, 3, 4, cell="gru")
    with torch.autocast("cpu", torch.bfloat16):
        assert tower(pad_together(TEXTS, pad=0)).dtype == torch.float32


def test_an_unknown_cell_is_a_sentence():
    with pytest.raises(ModelError, match="one of gru, sru, not `lstm`"):
        WordSequence(10, 3, 4, cell="lstm")


def test_fingerprints_tell_texts_apart_and_see_no_padding():
    texts = [*TEXTS, [5, 3, 8, 1], [3, 5, 8, 1], [5, 3, 8], [2, 7, 0]]
    found = fingerprints(pad_together(texts, pad=0)).tolist()
    assert found[4] == found[0]
    assert len(set(found)) == len(texts) - 1
    padded = pad_together([*texts, [0] * 30], pad=0)
    assert fingerprints(Tokens(padded.ids + (~padded.mask) * 3, padded.mask))[:-1].tolist() == found


def test_fingerprints_of_many_texts_differ():
    torch.manual_seed(0)
    ids = torch.randint(0, 3, (4000, 12))
    different = len(ids.unique(dim=0))
    assert len(fingerprints(Tokens(ids, torch.ones_like(ids, dtype=torch.bool))).unique()) == different


@pytest.mark.parametrize("cell", CELLS)
def test_words_are_dropped_whatever_the_cell(cell):
    torch.manual_seed(0)
    tower, tokens = WordSequence(10, 6, 8, cell=cell, dropout=0.5), pad_together(TEXTS, 0)
    assert not torch.equal(tower(tokens), tower(tokens))
    tower.eval()
    assert torch.equal(tower(tokens), tower(tokens))
