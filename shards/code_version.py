"""The version of the code that made a file: a digest of what the code does, not of how it is written down.

Comments, docstrings and layout do not count, so a typing error mended in a comment costs no recomputation;
every other change does, without anybody having to remember to raise a number.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


@cache
def code_version(*sources: str) -> str:
    """Digest of files and folders (relative to the checkout) of code and of the data beside it."""
    digest = hashlib.sha256()
    for path in sorted(file for source in sources for file in _files(CHECKOUT / source)):
        digest.update(path.relative_to(CHECKOUT).as_posix().encode())
        digest.update(_syntax(path) if path.suffix == ".py" else path.read_bytes())
    return digest.hexdigest()[:16]


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise FileNotFoundError(f"{source.name} is named as code of a stage, but there is no such file or folder")
    return [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def _syntax(path: Path) -> bytes:
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            body[0] = ast.Pass()
    return ast.dump(tree).encode()


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
