"""Fields of Dagster's launchpad, made from the plain dataclasses that hold the settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING
from typing import Any, get_origin

import dagster as dg
from pydantic import BaseModel, Field, create_model, model_validator

from store.settings import check_bounds, describe_values, described_settings


def launchpad_config(settings: type) -> type[dg.Config]:
    """A Dagster config with the fields of a settings dataclass.

    What the dataclass refuses is refused at launch, with its sentence.
    """
    fields: dict[str, Any] = {}
    for name, kind, default, description in described_settings(settings):
        chosen = ... if default is MISSING else default
        fields[name] = (_launchpad_type(kind), Field(_plain(chosen), description=description))
    return _create(settings, fields, checked=True)


def preset_config(
    settings: type, presets: Mapping[str, Mapping[str, Any]], hidden: Collection[str] = ()
) -> type[dg.Config]:
    """A Dagster config with the fields of a settings dataclass, all empty: a preset gives what is left empty.

    `presets` has the values of each preset over the dataclass's own. `hidden` fields are left out: something else sets
    them.
    """
    return _create(settings, preset_fields(settings, presets, hidden), checked=not hidden)


def preset_fields(
    settings: type, presets: Mapping[str, Mapping[str, Any]], hidden: Collection[str] = ()
) -> dict[str, Any]:
    """Type and field of every setting, whose description shows the value of each preset."""
    fields: dict[str, Any] = {}
    for name, kind, default, description in described_settings(settings):
        if name not in hidden:
            values = {preset: _plain(given.get(name, default)) for preset, given in presets.items()}
            shown = f"{description} Empty: {describe_values(values)}"
            fields[name] = (_launchpad_type(kind) | None, Field(None, description=shown))
    for preset, given in presets.items():
        if unknown := set(given) - set(fields) - set(hidden):
            raise ValueError(f"{settings.__name__} has no field {min(unknown)}, for which {preset} has a value")
    return fields


def given_values(config: BaseModel) -> dict[str, Any]:
    """What somebody gave: the fields that are not empty, and of nested configs theirs."""
    return config.model_dump(exclude_none=True)


def _create(settings: type, fields: Mapping[str, Any], checked: bool) -> type[dg.Config]:
    validators = {"check": model_validator(mode="after")(_checked_by(settings))} if checked else {}
    return create_model(
        settings.__name__,
        __base__=dg.Config,
        __doc__=settings.__doc__,
        __validators__=validators,  # type: ignore[arg-type]
        **fields,
    )


def settings_of(config: dg.Config, settings: type[Any]) -> Any:
    """The settings that a launchpad's fields hold."""
    return settings(**config.model_dump())


def _checked_by(settings: type) -> Any:
    def check(config: dg.Config) -> dg.Config:
        try:
            check_bounds(settings(**given_values(config)))
        except Exception as error:
            raise ValueError(str(error)) from None
        return config

    return check


def _launchpad_type(kind: Any) -> Any:
    """Dagster's config has lists, not tuples."""
    if get_origin(kind) is tuple:
        return list[kind.__args__[0]]  # type: ignore[name-defined]
    return dict[str, Any] if kind is dict else kind


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
