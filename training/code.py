"""Which code decides a run's weights. Imports no torch: Dagster names a run's folder with it."""

from __future__ import annotations

from functools import cache

from shards.code_version import CHECKOUT, code_version


@cache
def training_code(method: str) -> str:
    """Version of that code: the method's own file, and what all methods share. Of a process, as it began."""
    shared = sorted(path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "models").glob("*.py"))
    folders = ("models/encoders", "models/losses", "training")
    data = ("imaging/augment.py", "shards/loader.py", "shards/reader.py")
    return code_version(*shared, *folders, *data, f"models/methods/{method}.py")
