"""Texts leave room for a word, and fit into the text encoder."""

import pytest

from models.errors import ModelError
from models.registry import settings_class
from models.registry.text_lengths import SETTINGS
from tests.models.tiny import TINY, tiny_method

CUT = {method: name for method in TINY for name in SETTINGS if hasattr(settings_class(method), name)}


def test_every_method_that_reads_texts_says_where_they_are_cut():
    assert set(CUT) == {method for method in TINY if tiny_method(method).texts is not None}


@pytest.mark.parametrize("method", sorted(CUT))
def test_a_text_without_room_for_a_word_is_refused(method):
    with pytest.raises(ModelError, match=f"{CUT[method]} is 2, but .*a start, a word and an end"):
        tiny_method(method, **{CUT[method]: 2})


@pytest.mark.parametrize("method", ["biovil", "gloria", "lovt"])
def test_a_text_that_the_encoder_has_no_places_for_is_refused(method):
    name = CUT[method]
    with pytest.raises(ModelError) as caught:
        tiny_method(method, **{name: 513})
    assert str(caught.value) == f"{method}: {name} is 513, but the text encoder has places for 512 tokens"
    assert tiny_method(method, **{name: 512})
