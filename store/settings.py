"""Settings as plain dataclasses, whose fields say what they are for.

A launchpad or a command shows a setting with its description without reading any source code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, field, fields
from typing import Any, get_type_hints

DESCRIPTION = "description"


def setting(default: Any, description: str) -> Any:
    """A field of a settings dataclass: its default, and one sentence that says what it is for.

    A default that can be changed in place (a list, a dict) is copied for each object.
    """
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata={DESCRIPTION: description})
    return field(default=default, metadata={DESCRIPTION: description})


def described_settings(settings: type) -> Iterator[tuple[str, Any, Any, str]]:
    """Name, type, default and description of every field; the default is MISSING where there is none."""
    types = get_type_hints(settings)
    for item in fields(settings):
        yield item.name, types[item.name], _default(item), item.metadata.get(DESCRIPTION, "")


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()
