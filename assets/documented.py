"""Documented launchpad fields from the dataclass a setting belongs to, read from its source, not imported.

The module of a method imports torch, which loading the definitions must not. Its configuration class says
everything the launchpad needs: a field's name, type and default, and the comment behind it.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

import dagster as dg
from pydantic import Field, create_model

from assets.workspace import CHECKOUT

TYPES: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": bool, "dict": dict[str, Any]}


def documented_config(
    source: str, defaults: Mapping[str, Any] | None = None, hidden: Collection[str] = ()
) -> type[dg.Config]:
    """A Dagster config with the fields of the one `...Config` dataclass in `source`, a file of the checkout.

    `defaults` take the place of the dataclass's own; `hidden` fields are left out: something else sets them.
    """
    definition, lines = _config_class(source)
    fields: dict[str, Any] = {}
    for node in definition.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name = node.target.id
        if name not in hidden:
            kind, default = TYPES[ast.unparse(node.annotation).partition("[")[0]], _default(node)
            default = (defaults or {}).get(name, default)
            fields[name] = (kind, Field(default, description=_comment(node, lines)))
    if unknown := set(defaults or {}) - set(fields):
        raise ValueError(f"{source} has no field {min(unknown)}, which the demo's configuration sets")
    return create_model(definition.name, __base__=dg.Config, __doc__=ast.get_docstring(definition), **fields)


@cache
def _config_class(source: str) -> tuple[ast.ClassDef, list[str]]:
    text = (CHECKOUT / source).read_text(encoding="utf-8")
    nodes = ast.parse(text).body
    classes = [node for node in nodes if isinstance(node, ast.ClassDef) and node.name.endswith("Config")]
    if len(classes) != 1:
        raise ValueError(f"{source} should hold one dataclass whose name ends in Config")
    return classes[0], text.splitlines()


def _default(node: ast.AnnAssign) -> Any:
    if node.value is None:
        return ...
    if isinstance(node.value, ast.Call):  # field(default_factory=dict)
        return {}
    try:
        return ast.literal_eval(node.value)
    except ValueError as error:
        said = f"{ast.unparse(node.target)} = {ast.unparse(node.value)}"
        raise ValueError(f"the default of a setting is a plain value, not an expression: {said}") from error


def _comment(node: ast.AnnAssign, lines: list[str]) -> str | None:
    """The comment behind a field, or the lines of comment above it."""
    _, _, behind = lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset or 0 :].partition("#")
    above: list[str] = []
    for line in reversed(lines[: node.lineno - 1]):
        if not line.strip().startswith("#"):
            break
        above.insert(0, line.strip().lstrip("# "))
    return behind.strip() or " ".join(above) or None
