"""Which code decides a run's weights. Imports no torch: Dagster names a run's folder with it."""

from __future__ import annotations

import ast
from functools import cache

from shards.code_version import CHECKOUT, code_version

METHODS = "models.methods."


@cache
def training_code(method: str) -> str:
    """Version of that code: the method's own file, and what all methods share. Of a process, as it began."""
    shared = sorted(path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "models").glob("*.py"))
    folders = ("models/encoders", "models/losses", "training")
    data = ("imaging/augment.py", "imaging/intensities.py", "shards/loader.py", "shards/pixels.py", "shards/reader.py")
    own = [f"models/methods/{name}.py" for name in sorted(_built_on(method))]
    return code_version(*shared, *folders, *data, *own)


def _built_on(method: str) -> set[str]:
    """The method and those whose modules its own builds on, as LRCLR does on CheXzero."""
    tree = ast.parse((CHECKOUT / "models" / "methods" / f"{method}.py").read_bytes())
    imports = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    others = [name.removeprefix(METHODS) for name in imports if name.startswith(METHODS)]
    return {method}.union(*map(_built_on, others))
