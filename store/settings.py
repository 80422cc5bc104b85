"""Settings as plain dataclasses, whose fields say what they are for.

A launchpad or a command shows a setting with its description without reading any source code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields
from math import isfinite
from typing import Any, get_type_hints

from store.errors import SettingError

DESCRIPTION, LEAST, ABOVE, BELOW, CHOICES = "description", "least", "above", "below", "choices"
NUMBERS = (int, float)


def setting(
    default: Any,
    description: str,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[Any] = (),
) -> Any:
    """A field of a settings dataclass: its default, and one sentence that says what it is for.

    A default that can be changed in place (a list, a dict) is copied for each object. `least` is the smallest value
    that `check_bounds` accepts; all that it accepts are above `above` and below `below`, and one of `choices`.
    """
    metadata = {DESCRIPTION: description, LEAST: least, ABOVE: above, BELOW: below, CHOICES: tuple(choices)}
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def check_bounds(settings: Any) -> None:
    """SettingError names the first field whose value is not one that `setting` accepts. nan is in no bounds."""
    for item in fields(settings):
        value = getattr(settings, item.name)
        least, above, below, choices = (item.metadata.get(name) for name in (LEAST, ABOVE, BELOW, CHOICES))
        if least is not None and not value >= least:
            raise SettingError(f"`{item.name}` is {value}, but must be at least {least}.")
        if above is not None and not value > above:
            raise SettingError(f"`{item.name}` is {value}, but must be above {above}.")
        if below is not None and not value < below:
            raise SettingError(f"`{item.name}` is {value}, but must be below {below}.")
        if choices and value not in choices:
            raise SettingError(f"`{item.name}` is {value}, but must be one of {', '.join(map(str, choices))}.")


def check_types(settings: Any) -> None:
    """SettingError names the first number, switch or text of `settings` that is of another kind, or is not finite."""
    types = get_type_hints(type(settings))
    for item in fields(settings):
        kind, value = types[item.name], getattr(settings, item.name)
        if kind in NUMBERS:
            number = isinstance(value, NUMBERS if kind is float else int) and not isinstance(value, bool)
            if not number or not isfinite(value):
                raise SettingError(f"`{item.name}` is {value!r}, but must be {_KINDS[kind]}.")
        elif kind in (bool, str) and not isinstance(value, kind):
            raise SettingError(f"`{item.name}` is {value!r}, but must be {_KINDS[kind]}.")


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def described_settings(settings: type) -> Iterator[tuple[str, Any, Any, str]]:
    """Name, type, default and description of every field; the default is MISSING where there is none."""
    types = get_type_hints(settings)
    for item in fields(settings):
        yield item.name, types[item.name], _default(item), item.metadata.get(DESCRIPTION, "")


def describe_values(values: Mapping[str, Any]) -> str:
    """The value of each preset, or one for all."""
    if len({str(value) for value in values.values()}) == 1:
        return f"{next(iter(values.values()))!r}."
    return f"{', '.join(f'{preset} {value!r}' for preset, value in values.items())}."


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()
