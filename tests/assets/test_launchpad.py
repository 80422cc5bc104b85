"""Fields of the launchpad, made from dataclasses."""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg
import pytest

from assets.settings.launchpad import given_values, launchpad_config, preset_config, settings_of
from store.settings import setting


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network."""

    width: int = setting(256, "Width of the features.")
    depth: int = setting(2, "Number of layers.")


@dataclass(frozen=True)
class NetConfig(Sizes):
    """A network."""

    rate: float = setting(1e-4, "Learning rate.")
    kind: str = setting("a", "`a` or `b`.")
    sides: tuple[int, ...] = setting((1, 2), "Sides.")
    more: dict[str, int] = setting({}, "What else there is.")

    def __post_init__(self) -> None:
        if self.kind not in ("a", "b"):
            raise ValueError(f"net: kind is `a` or `b`, not `{self.kind}`")


def test_fields_keep_type_default_and_description_those_of_a_base_too():
    config = launchpad_config(NetConfig)
    assert issubclass(config, dg.Config)
    assert config().model_dump() == {"width": 256, "depth": 2, "rate": 1e-4, "kind": "a", "sides": [1, 2], "more": {}}
    assert {name: item.description for name, item in config.model_fields.items()} == {
        "width": "Width of the features.",
        "depth": "Number of layers.",
        "rate": "Learning rate.",
        "kind": "`a` or `b`.",
        "sides": "Sides.",
        "more": "What else there is.",
    }
    assert config.__doc__ == "A network."


def test_fields_of_a_preset_are_empty_and_say_what_each_preset_gives():
    config = preset_config(NetConfig, {"small": {"width": 64, "rate": 0.1}, "large": {"rate": 0.1}}, hidden=("depth",))
    assert given_values(config()) == {}
    assert given_values(config(width=8, sides=[3])) == {"width": 8, "sides": [3]}
    assert {name: item.description for name, item in config.model_fields.items()} == {
        "width": "Width of the features. Empty: small 64, large 256.",
        "rate": "Learning rate. Empty: 0.1.",
        "kind": "`a` or `b`. Empty: 'a'.",
        "sides": "Sides. Empty: [1, 2].",
        "more": "What else there is. Empty: {}.",
    }


def test_a_value_for_no_field_is_named():
    with pytest.raises(ValueError, match="no field wdth, for which small has a value"):
        preset_config(NetConfig, {"small": {"wdth": 64}})


def test_what_the_dataclass_refuses_is_refused_at_launch():
    config = launchpad_config(NetConfig)
    assert settings_of(config(kind="b", sides=[3]), NetConfig).kind == "b"
    with pytest.raises(ValueError, match="kind is `a` or `b`, not `c`"):
        config(kind="c")


def test_what_the_dataclass_refuses_is_refused_over_a_preset_too():
    config = preset_config(NetConfig, {"small": {}})
    with pytest.raises(ValueError, match="kind is `a` or `b`, not `c`"):
        config(kind="c")
