"""Methods by name. A method is a file in `models/methods/`; being there is what registers it.

Reading the names imports no torch, so that Dagster can list methods quickly.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.method import Method


def method_names() -> list[str]:
    """Names of all methods, sorted."""
    folder = Path(__file__).parent / "methods"
    return sorted(path.stem for path in folder.glob("[!_]*.py"))


def method_module(name: str) -> Any:
    """The module of a method; raises ValueError for an unknown name."""
    if name not in method_names():
        raise ValueError(f"unknown method `{name}`: choose one of {', '.join(method_names())}")
    return import_module(f"models.methods.{name}")


def build_method(name: str, config: dict[str, Any], knowledge: Sequence[dict[str, str]], size: int) -> Method:
    """The method `name` with `config` over its defaults, for images of `size` x `size` pixels."""
    return method_module(name).build(config, knowledge, size)
