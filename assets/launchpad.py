"""Fields of Dagster's launchpad, made from the plain dataclasses that hold the settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING
from typing import Any, get_origin

import dagster as dg
from pydantic import Field, create_model, model_validator

from store.settings import check_bounds, described_settings


def launchpad_config(
    settings: type, defaults: Mapping[str, Any] | None = None, hidden: Collection[str] = ()
) -> type[dg.Config]:
    """A Dagster config with the fields of a settings dataclass.

    `defaults` take the place of the dataclass's own. `hidden` fields are left out: something else sets them. What the
    dataclass refuses is refused at launch, with its sentence.
    """
    fields: dict[str, Any] = {}
    for name, kind, default, description in described_settings(settings):
        if name not in hidden:
            chosen = (defaults or {}).get(name, ... if default is MISSING else default)
            fields[name] = (_launchpad_type(kind), Field(_plain(chosen), description=description))
    if unknown := set(defaults or {}) - set(fields):
        raise ValueError(f"{settings.__name__} has no field {min(unknown)}, for which a preset has a value")
    validators = {} if hidden else {"check": model_validator(mode="after")(_checked_by(settings))}
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
            check_bounds(settings_of(config, settings))
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
