"""A saved network is loaded as it was, without the code of the training."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from models.errors import ModelError
from models.registry import method_names
from models.saved import TRAINED, ModelCard, load_method
from store.code import ROOT, imported_files
from tests.models.tiny import KNOWLEDGE, SIZE, TINY, tiny_batch


@pytest.mark.parametrize("name", method_names())
def test_a_network_comes_back_as_it_was(name, tmp_path):
    card = ModelCard(name, TINY[name], KNOWLEDGE, SIZE, "crop", 40)
    method = card.build().eval()
    card.save(tmp_path)
    save_file({key: value.contiguous() for key, value in method.state_dict().items()}, tmp_path / TRAINED)
    loaded = load_method(tmp_path)
    assert (loaded.fit, loaded.training, ModelCard.load(tmp_path)) == ("crop", False, card)
    images = tiny_batch(method, 3).images
    with torch.inference_mode():
        assert torch.equal(loaded.image_features(images), method.image_features(images))


def test_cards_of_earlier_versions_are_read(tmp_path):
    content = {"method": "convirt", "method_config": {"dimension": 8}, "knowledge": [], "size": 32}
    (tmp_path / "model.json").write_text(json.dumps(content))
    assert ModelCard.load(tmp_path) == ModelCard("convirt", {"dimension": 8}, [], 32, "resize", 0)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"train the run in .* to its end first"):
        load_method(tmp_path)
    with pytest.raises(ModelError, match=r"model\.json does not exist"):
        ModelCard.load(tmp_path)


def test_it_depends_on_no_code_of_the_training():
    rooms = {path.relative_to(ROOT).parts[0] for path in imported_files(["models.saved"])}
    assert rooms == {"models", "store"}
