"""Settings refuse values of another kind, and values out of their bounds, each in one sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from store.errors import SettingError
from store.settings import check_bounds, check_types, setting


@dataclass(frozen=True)
class Settings:
    """One field of each kind."""

    count: int = setting(3, "A number of things.", least=1)
    share: float = setting(0.5, "A share.", above=0.0)
    side: str = setting("left", "A side.", choices=("left", "right"))
    wide: bool = setting(False, "Whether it is wide.")
    maybe: int | None = setting(None, "Of no plain kind: not looked at.")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"count": 0}, "`count` is 0, but must be at least 1."),
        ({"share": 0.0}, "`share` is 0.0, but must be above 0.0."),
        ({"share": math.nan}, "`share` is nan, but must be above 0.0."),
        ({"side": "up"}, "`side` is up, but must be one of left, right."),
    ],
)
def test_bounds(given: dict[str, Any], sentence: str) -> None:
    """What is out of bounds is named with the bound."""
    with pytest.raises(SettingError) as caught:
        check_bounds(Settings(**given))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"count": "3"}, "`count` is '3', but must be a whole number."),
        ({"count": True}, "`count` is True, but must be a whole number."),
        ({"count": 2.5}, "`count` is 2.5, but must be a whole number."),
        ({"share": "much"}, "`share` is 'much', but must be a number."),
        ({"share": math.inf}, "`share` is inf, but must be a number."),
        ({"side": None}, "`side` is None, but must be text."),
        ({"wide": 1}, "`wide` is 1, but must be true or false."),
    ],
)
def test_types(given: dict[str, Any], sentence: str) -> None:
    """What is of another kind is named with the kind."""
    with pytest.raises(SettingError) as caught:
        check_types(Settings(**given))
    assert str(caught.value) == sentence


def test_sound_settings_pass() -> None:
    """A whole number is a number, too."""
    for sound in (Settings(), Settings(count=1, share=1, side="right", wide=True, maybe=7)):
        check_bounds(sound)
        check_types(sound)
