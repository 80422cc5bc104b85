"""The part of a method's file that its settings depend on, run without the rest, which imports torch."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

WANTED = "Config"  # how the name of the settings' dataclass ends
RECIPE = "TRAINING"


def load_settings_part(path: Path, name: str) -> ModuleType:
    """A module called `name` with the settings and the recipe of the file at `path`, and all that these name in it.

    Everything else of the file is left out. The module does not stay among the imported ones.
    """
    tree = ast.parse(path.read_bytes(), str(path))
    defined = {known: node for node in tree.body for known in _defined_names(node)}
    todo = [known for known in defined if known == RECIPE or known.endswith(WANTED)]
    wanted: set[ast.stmt] = {node for node in tree.body if _is_future(node)}
    while todo:
        node = defined[todo.pop()]
        if node not in wanted:
            wanted.add(node)
            todo += [read for read in _names(node, ast.Load) if read in defined]
    tree.body = [node for node in tree.body if node in wanted]
    module = ModuleType(name)
    module.__file__ = str(path)
    whole = sys.modules.get(name)
    sys.modules[name] = module  # in which dataclasses look up what their types name
    try:
        exec(compile(tree, str(path), "exec"), module.__dict__)
    finally:
        del sys.modules[name]
        if whole is not None:
            sys.modules[name] = whole
    return module


def _defined_names(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ClassDef | ast.FunctionDef):
        yield node.name
    else:
        yield from _names(node, ast.Store)


def _names(node: ast.stmt, use: type[ast.expr_context]) -> list[str]:
    """The names that a statement reads (Load) or defines (Store)."""
    names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
    return [part.id for part in names if isinstance(part.ctx, use)]


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"
