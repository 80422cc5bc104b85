"""The version of the code behind a stored result: a digest of every file of the project that this code imports.

Which files count follows from the code itself. A module counts, and so does everything that it imports anywhere, also
inside functions, directly or through others. Imports for type checkers alone do not run and do not count. A string that
is the dotted name of a module counts as an import of it (`python -m imaging.worker`), and a string that is the name of
files in or below the `data` or `templates` folder of the module's package counts these files.

Modules that are chosen by name at run time, such as a method or a dataset, are no imports: whoever stores a result
names them as further entries.

Comments, docstrings and layout do not count. Every other change does. The digest is the same under every Python.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[1]
ROOT = HOME  # the checkout, or the folder that the project is installed in
ROOMS = frozenset(
    {
        *("store", "imaging", "report_parsing", "cohorts", "shards", "ingestion", "models", "training", "evaluation"),
        *("tracking", "radalign", "assets", "pipelines"),
    }
)
DATA_FOLDERS = ("", "data", "templates")  # of a package, for files that its modules name
MODULE_NAME = re.compile(r"[a-z_]\w*(\.\w+)+")
FILE_NAME = re.compile(r"[\w-]+\.\w+")


def code_version(*modules: str) -> str:
    """Digest of the `modules`, given by their dotted names, and of everything that they import."""
    return _version(frozenset(modules))


def imported_files(modules: Iterable[str]) -> frozenset[Path]:
    """The files of the `modules`, of all that they import, and the data files that these name."""
    todo = [path for name in modules for path in _files_of(name, required=True)]
    found: set[Path] = set()
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += _named_in(path) if path.suffix == ".py" else ()
    return frozenset(found)


@cache
def _version(modules: frozenset[str]) -> str:
    digest = hashlib.sha256()
    for name, path in sorted((_name_of(path), path) for path in imported_files(modules)):
        digest.update(name.encode())
        digest.update(_content_digest(path))
    _memory().save()
    return digest.hexdigest()[:16]


@cache
def _name_of(path: Path) -> str:
    """Its path in the checkout; asked for once per file, as a run asks for a hundred versions."""
    return path.relative_to(ROOT).as_posix()


@cache
def _files_of(name: str, required: bool = False) -> list[Path]:
    """The file of a module and the `__init__` files of the packages around it; none where the name is no module."""
    parts = name.split(".")
    if parts[0] not in ROOMS:
        return []
    folders = [ROOT.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    module = folders[-1].with_suffix(".py")
    inits = [path for folder in folders if (path := folder / "__init__.py").is_file()]
    if module.is_file():
        return [module, *inits]
    if required and not folders[-1].is_dir():
        raise ModuleNotFoundError(f"{name} is named as code of a result, but there is no such module")
    return inits


@cache
def _named_in(path: Path) -> tuple[Path, ...]:
    """The files that a module names: of the modules that it imports, and of data."""
    facts = _memory().facts(path)
    found = {file: None for name in facts["modules"] for file in _files_of(name)}
    return tuple(found | dict.fromkeys(file for name in facts["files"] for file in _data_files(path, name)))


class _Memory:
    """What the text of each module says, kept from process to process beside Python's own compiled modules.

    A module is read again where its file is another one or was touched: parsing all of them takes seconds.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._reader = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        self._known: dict[str, Any] = {}
        self._new = False
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            stored = json.loads(file.read_text(encoding="utf-8"))
            self._known = stored["modules"] if stored["reader"] == self._reader else {}

    def facts(self, path: Path) -> dict[str, Any]:
        """Names of `modules` and `files` in the text of a module, and the `digest` of what it does."""
        stat = path.stat()
        state = [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        kept = self._known.get(str(path))
        if kept and kept["state"] == state:
            found: dict[str, Any] = kept
            return found
        found = {"state": state, **_read_facts(path)}
        if path.is_relative_to(HOME):
            self._known[str(path)] = found
            self._new = True
        return found

    def save(self) -> None:
        """Keep it, where the folder can be written to."""
        if not self._new:
            return
        partial = self._file.with_name(f"{self._file.name}.{os.getpid()}.partial")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(exist_ok=True)
            partial.write_text(json.dumps({"reader": self._reader, "modules": self._known}), encoding="utf-8")
            partial.replace(self._file)
            self._new = False


@cache
def _memory() -> _Memory:
    return _Memory(HOME / "store" / "__pycache__" / f"code.{sys.implementation.cache_tag}.json")


def _read_facts(path: Path) -> dict[str, Any]:
    """The names in a module's text, and the digest of what it does."""
    tree = ast.parse(path.read_bytes())
    modules: dict[str, None] = {}
    files: dict[str, None] = {}
    for node in _running_nodes(tree):
        if isinstance(node, ast.Import):
            modules |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, [*_package(path, node.level), node.module]))
            modules |= dict.fromkeys([module, *(f"{module}.{alias.name}" for alias in node.names)])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if MODULE_NAME.fullmatch(node.value):
                modules[node.value] = None
            if FILE_NAME.fullmatch(node.value) and not node.value.endswith(".py"):
                files[node.value] = None
    ours = [name for name in modules if name.partition(".")[0] in ROOMS]
    return {"modules": ours, "files": list(files), "digest": hashlib.sha256(_syntax(tree)).hexdigest()}


def _package(path: Path, level: int) -> tuple[str, ...]:
    """The package that an import with so many leading dots counts from; none for an absolute import."""
    return path.relative_to(ROOT).parts[:-level] if level else ()


def _running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but docstrings and what only type checkers read."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            todo += node.orelse
            continue
        children = list(ast.iter_child_nodes(node))
        body = getattr(node, "body", None)
        text = body[0] if isinstance(body, list) and body and _is_text(body[0]) else None
        todo += [child for child in children if child is not text]


def _data_files(path: Path, name: str) -> Iterator[Path]:
    """The files called `name` beside a module, or anywhere in the data folders of the packages that it lies in."""
    for package in path.relative_to(ROOT).parents[:-1]:
        for folder in DATA_FOLDERS:
            place = ROOT / package / folder
            yield from sorted(place.rglob(name)) if folder else filter(Path.is_file, [place / name])


@cache
def _content_digest(path: Path) -> bytes:
    if path.suffix == ".py":
        return bytes.fromhex(_memory().facts(path)["digest"])
    return hashlib.sha256(path.read_bytes()).digest()


def _syntax(tree: ast.AST) -> bytes:
    """What a module does, without its docstrings; these are taken out of its `tree`."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            body[0] = ast.Pass()
    return _tree(tree).encode()


def _tree(node: object) -> str:
    """A syntax tree as text. `ast.dump` shows which empty fields a version of Python has; this is the same in all."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, []) or name == "value"]
        return f"{type(node).__name__}({', '.join(f'{name}={_tree(value)}' for name, value in fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_tree, node))}]"
    return ascii(node)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
