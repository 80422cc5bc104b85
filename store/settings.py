"""Settings as plain dataclasses, whose fields say what they are for.

A launchpad or a command shows a setting with its description without reading any source code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any, get_type_hints

from store.errors import SettingError

DESCRIPTION, LEAST = "description", "least"


def setting(default: Any, description: str, least: float | None = None) -> Any:
    """A field of a settings dataclass: its default, and one sentence that says what it is for.

    A default that can be changed in place (a list, a dict) is copied for each object. `least` is the smallest value
    that `check_bounds` accepts.
    """
    metadata = {DESCRIPTION: description, LEAST: least}
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def check_bounds(settings: Any) -> None:
    """ValueError names the first field whose value is below the least one."""
    for item in fields(settings):
        least, value = item.metadata.get(LEAST), getattr(settings, item.name)
        if least is not None and not value >= least:  # nan is not, either
            raise SettingError(f"`{item.name}` is {value}, but must be at least {least}.")


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
