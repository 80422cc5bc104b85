"""Settings that a released file brings beside its weights, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.errors import ModelError


def find_number(content: Mapping[str, Any], path: str, usual: float, largest: float = 4096) -> float:
    """The number under `path`, names with dots between; `usual` where there is none.

    ModelError where it is none of 0..`largest`.
    """
    value = find_setting(content, path)
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= largest:
        raise ModelError(f"the file's setting `{path}` is {value!r}, and not a number above 0 and up to {largest:g}")
    return value


def find_setting(content: Mapping[str, Any], path: str) -> Any:
    """The value under `path`; None where there is none."""
    value: Any = content
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return None if isinstance(value, Mapping) else value


def expect_setting(content: Mapping[str, Any], path: str, *known: Any) -> Any:
    """The value under `path`, one of `known`, of which the first stands for none; ModelError for another."""
    value = find_setting(content, path)
    if value is None:
        return known[0]
    if value not in known:
        raise ModelError(f"the file's setting `{path}` is {value!r}, and known are {', '.join(map(repr, known))}")
    return value
