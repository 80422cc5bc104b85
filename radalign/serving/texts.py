"""Keeps what a network's text tower said of texts, so that the next image does not wait for it again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from models.encoders.clip import ClipTextEncoder
from models.encoders.text import TextEncoder
from models.method import Method, Tokens
from models.released.parts.bert import TextTower

TOWERS = (TextEncoder, ClipTextEncoder, TextTower)
MOST_TOKENS = 4000  # kept per tower; the layers of a BERT-base take 40 kB for each


class _Remembering:
    """The forward pass of a text tower in evaluation mode, which says the same of the same tokens every time."""

    def __init__(self, forward: Callable[..., Any], most: int) -> None:
        self._forward, self._most = forward, most
        self._known: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()

    def __call__(self, tokens: Tokens, *options: Any, **named: Any) -> Any:
        """What the tower says of tokens (texts, length)."""
        ids, mask = tokens.ids.cpu().numpy(), tokens.mask.cpu().numpy()
        key = (ids.shape, ids.tobytes(), mask.tobytes(), options, tuple(sorted(named.items())))
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key][0]
        said = self._forward(tokens, *options, **named)
        self._known[key] = (said, ids.size)
        while sum(size for _, size in self._known.values()) > self._most:
            self._known.popitem(last=False)
        return said


def remember_texts(network: Method, most: int = MOST_TOKENS) -> int:
    """Have the text towers of a network in evaluation mode keep what they said; returns how many there are."""
    towers = [module for module in network.modules() if isinstance(module, TOWERS)]
    for tower in towers:
        tower.forward = _Remembering(tower.forward, most)  # type: ignore[method-assign]
    return len(towers)
