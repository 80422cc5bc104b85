"""Settings in a released file are read as plain values, whatever classes hold them."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

from models.errors import ModelError
from models.released.files.archive import StandIn
from models.released.files.containers import read_content, tensors_of
from models.released.formats import gloria
from models.released.parts.settings import expect_setting, find_number, find_setting

SETTINGS = {
    "model": {
        "text": {"last_n_layers": 2, "aggregate_method": "mean"},
        "gloria": {"temp1": 3.0, "temp2": 6},
    },
    "data": {"text": {"word_num": 64}, "image": {"imsize": 288}},
    "transforms": {"random_crop": {"crop_size": 256}, "norm": "half"},
}
READ = {
    "layers": 2, "layer_pooling": "mean", "tokens": 64, "whole": 288, "crop": 256, "attention": 3.0, "words": 6,
}  # fmt: skip
USUAL = {
    "layers": 4, "layer_pooling": "sum", "tokens": 97, "whole": 256, "crop": 224, "attention": 4.0, "words": 5.0,
}  # fmt: skip


class Node:
    """A node of omegaconf: nodes by name, or a value, with its parent."""

    def __init__(self, value, parent=None):
        self._metadata, self._parent = {"flags": {}, "object": dict}, parent
        if isinstance(value, dict):
            self._content = {name: Node(inner, self) for name, inner in value.items()}
        else:
            self._val = value


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A file whose settings are nodes of a package that is not there when it is read."""
    module = ModuleType("omegaconf_there")
    monkeypatch.setitem(sys.modules, "omegaconf_there", module)
    module.Node = Node
    monkeypatch.setattr(Node, "__module__", "omegaconf_there")
    path = tmp_path / "saved.ckpt"
    torch.save({"state_dict": {"weight": torch.ones(2)}, "hyper_parameters": Node(SETTINGS)}, path)
    monkeypatch.delitem(sys.modules, "omegaconf_there")
    return path


def test_settings_of_a_package_that_is_not_there_are_read(path):
    content = read_content(path)
    assert type(content["hyper_parameters"]) is StandIn
    assert gloria._settings(content) == READ
    assert set(tensors_of(content)) == {"state_dict.weight"}


def test_plain_settings_are_read_and_missing_ones_are_usual():
    assert gloria._settings({"hyper_parameters": SETTINGS}) == READ
    assert gloria._settings({}) == gloria._settings({"hyper_parameters": 3}) == USUAL


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": {"text": {"word_num": -1}}}, "`hyper_parameters.data.text.word_num` is -1, and not a number above 0"),
        ({"data": {"image": {"imsize": "large"}}}, "imsize` is 'large'"),
        ({"data": {"image": {"imsize": True}}}, "imsize` is True"),
        ({"data": {"image": {"imsize": 10**9}}}, "up to 4096"),
        ({"data": {"image": {"imsize": 200}}}, "cut 224 pixels out of films of 200"),
        ({"transforms": {"norm": "imagenet"}}, "norm` is 'imagenet', and known are 'half'"),
        ({"model": {"text": {"aggregate_method": "max"}}}, "known are 'sum', 'mean'"),
        ({"model": {"text": {"agg_tokens": False}}}, "agg_tokens` is False"),
    ],
)
def test_settings_that_nothing_here_computes_are_a_sentence(settings, message):
    with pytest.raises(ModelError, match=message):
        gloria._settings({"hyper_parameters": settings})


def test_a_setting_is_found_by_its_names():
    content = {"a": {"b": {"c": 3}}}
    assert find_setting(content, "a.b.c") == 3
    assert find_setting(content, "a.b") is find_setting(content, "a.b.c.d") is None
    assert find_number(content, "a.b.c", 7) == 3
    assert find_number(content, "a.x", 7) == 7
    assert expect_setting(content, "a.x", "one", "two") == "one"


def test_nodes_that_hold_each_other_end():
    class Loop(StandIn):
        pass

    node = Loop()
    node.__setstate__({"_content": {"self": node, "number": 3, "list": [1]}})
    assert node["self"] is node
    assert (node["number"], node["list"]) == (3, None)
    assert tensors_of({"settings": node, "more": {"settings": node}}) == {}
