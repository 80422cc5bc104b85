"""Methods by name. Being in `models/methods/` is what registers a method.

A method is a folder with `config.py` (settings and recipe, without torch) and `network.py`, or one file with both.
Such files may lie in a folder, a family, that has no `network.py` itself. Names and settings are read without importing
torch.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import ModelError
from models.registry.settings_part import load_settings_part
from store.errors import SettingError, did_you_mean
from store.settings import check_bounds, check_types

if TYPE_CHECKING:
    from models.method import Method

MODELS = Path(__file__).parents[1]
FOLDER = MODELS / "methods"
PACKAGE = f"{MODELS.name}.{FOLDER.name}"
SHARED = "config"  # the file of a family with settings that its methods have in common
RELEASED = MODELS / "released" / "formats"


def method_names() -> list[str]:
    """Names of all methods, sorted."""
    return sorted(_method_files())


def _method_files() -> dict[str, Path]:
    """Name of a method -> its file, or its `network.py`."""
    return _list_files(FOLDER)


@cache
def _list_files(folder: Path) -> dict[str, Path]:
    networks = {path.parent.name: path for path in folder.glob("[!_]*/network.py")}
    files = [*folder.glob("[!_]*.py"), *folder.glob("[!_]*/[!_]*.py")]
    return networks | {path.stem: path for path in files if path.parent.name not in networks and path.stem != SHARED}


def settings_class(name: str) -> type[Any]:
    """The dataclass of a method's settings: the one in its module whose name ends in `Config`."""
    module = _config_module(name)
    found = [
        value
        for key, value in vars(module).items()
        if key.endswith("Config")
        and isinstance(value, type)
        and is_dataclass(value)
        and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ModelError(f"{module.__name__} should define one dataclass whose name ends in Config, not {len(found)}")
    return found[0]


def recipe(name: str) -> dict[str, Any]:
    """How the method's paper trains it: `TRAINING` of its module, over the defaults of the training; may be empty."""
    return dict(getattr(_config_module(name), "TRAINING", {}))


def describe_method(name: str) -> str:
    """What the method's file, or its package, says first of itself."""
    path = _method_files()[name]
    path = path.with_name("__init__.py") if path.stem == "network" else path
    return ast.get_docstring(ast.parse(path.read_bytes(), str(path))) or ""


def own_variant(name: str, settings: dict[str, Any]) -> str:
    """The variant that a run is of where nobody named one: the encoder of a system without pretraining, else none."""
    return str(getattr(settings_class(name)(**settings), "variant", ""))


def method_module(name: str) -> Any:
    """The module that builds a method's network; raises ModelError for an unknown name."""
    return import_module(method_modules(name)[0])


def method_modules(name: str) -> tuple[str, ...]:
    """The modules of a method by their dotted names, that of the network first: the code it depends on."""
    if name not in method_names():
        guess = did_you_mean(name, method_names())
        raise ModelError(f"unknown method `{name}`{guess}: choose one of {', '.join(method_names())}")
    path = _method_files()[name].relative_to(FOLDER).with_suffix("")
    module = ".".join((PACKAGE, *path.parts))
    return (module, f"{module.rpartition('.')[0]}.config") if path.name == "network" else (module,)


def evaluated_names() -> list[str]:
    """Names of all networks that can be evaluated: the methods, and those that can only be imported, sorted."""
    return sorted([*method_names(), *only_imported()])


def released_names() -> list[str]:
    """Names of the formats of released files, sorted."""
    return sorted(path.stem for path in RELEASED.glob("[!_]*.py"))


def only_imported() -> list[str]:
    """Names of the networks that can be imported and not trained, sorted."""
    return sorted(set(released_names()) - set(method_names()))


def evaluated_modules(name: str) -> tuple[str, ...]:
    """The modules that a network called `name` runs at its evaluation, trained here or imported."""
    imported = (f"{MODELS.name}.released.formats.{name}",) if name in released_names() else ()
    return (*(method_modules(name) if name in method_names() or not imported else ()), *imported)


def build_method(name: str, config: dict[str, Any], knowledge: Sequence[dict[str, str]], size: int) -> Method:
    """The method `name` with `config` over its defaults, for images of `size` x `size` pixels.

    ModelError names a setting whose value cannot be used.
    """
    try:
        settings = settings_class(name)(**config)
        check_types(settings)
        check_bounds(settings)
    except SettingError as error:
        raise ModelError(f"method_config of {name}: {error}") from None
    from models.registry.text_lengths import expect_lengths

    method: Method = method_module(name).build(config, knowledge, size)
    method.registered = name
    expect_lengths(method, settings)
    return method


def _config_module(name: str) -> Any:
    """The module with a method's settings and recipe."""
    *network, module = method_modules(name)
    return import_module(module) if network else _settings_part(_method_files()[name], module)


@cache
def _settings_part(path: Path, module: str) -> Any:
    return load_settings_part(path, module)
