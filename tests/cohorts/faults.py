"""Faults of a file system, planted under functions of Python."""

from __future__ import annotations

import os
from pathlib import Path


def fail(patch, module, name, code, *paths):
    """Let a function of `module` that takes a path raise the OSError of `code` for some paths."""
    real, broken = getattr(module, name), {str(path) for path in paths}

    def function(path, *arguments, **options):
        if isinstance(path, (str, os.PathLike)) and str(Path(path)) in broken:
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *arguments, **options)

    patch.setattr(module, name, function)
