"""Writes a model as a folder that another project loads with its own tools."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from models.method import Method
from models.run_files import TRAINED, UNTRAINED
from models.saved import load_method
from radalign.errors import RadalignError, UnknownFindingWarning, one_sentence
from radalign.exporting.card import write_card
from radalign.exporting.facts import gather_facts
from radalign.exporting.folders import MARK, expect_replaceable, replacing_folder
from radalign.exporting.preparation import describe_preparation
from radalign.exporting.subject import Subject, Written
from radalign.exporting.towers import NotExportableError
from radalign.model import Model, doubt_of, name_finding
from store.digests import file_digest
from store.errors import did_you_mean

TARGETS = Path(__file__).parent / "targets"
PACKAGE = f"{__package__}.targets"
SCORES = "onnx"  # the target that scores findings


class Target(Protocol):
    """A module of `targets/`."""

    def refuse(self, subject: Subject) -> None:
        """Raise NotExportableError where the target has no form for the network."""

    def write(self, subject: Subject, folder: Path) -> Written:
        """Write the folder and open it again.

        NotExportableError as of `refuse`, and where the numbers are not the same.
        """


def target_names() -> list[str]:
    """Names of the targets, sorted."""
    return sorted(path.stem for path in TARGETS.glob("[!_]*.py"))


def export(model: Model, to: str, folder: str | PathLike[str], findings: Sequence[str] = (), *, home: str = "") -> Path:
    """Write `model` into `folder` for the project `to`: open_clip, timm, transformers, onnx or safetensors.

    The folder is opened with that project's own tools before it takes its name, and its numbers are compared with the
    model's. An export that stood there is replaced; anything else is left as it is.

    `findings` are those that the ONNX graph of scores has. `home` is where the results of the model card are looked up
    (default: RADALIGN_HOME, else var).

    Raises:
        RadalignError: the project has no form for this network, which the sentence says together with those that have;
            or something else that the caller can mend.
    """
    target, place = find_target(to), Path(folder)
    if findings and to != SCORES:
        raise RadalignError(f"Findings are scored by a graph, so they go with `{SCORES}`, not with `{to}`.")
    expect_replaceable(place)
    with one_sentence():
        subject = open_subject(model, findings)
        facts = gather_facts(model, home)
        with replacing_folder(place) as partial:
            try:
                written = target.write(subject, partial)
            except NotExportableError as error:
                raise RadalignError(_refusal(subject, to, error)) from error
            (partial / "README.md").write_text(write_card(subject, facts, written, to), encoding="utf-8")
            _mark(partial, to, facts.method, facts.weights)
    return place


def find_target(to: str) -> Target:
    """The module of a target; RadalignError for a name that is none."""
    if to not in target_names():
        raise RadalignError(
            f"There is no target `{to}`{did_you_mean(to, target_names())}: they are {', '.join(target_names())}."
        )
    module: Any = import_module(f"{PACKAGE}.{to}")
    return module


def open_subject(model: Model, findings: Sequence[str] = ()) -> Subject:
    """The network of `model` in float32 on the CPU, from files that are what the run wrote."""
    network = load_method(model.folder, model.weights)
    names = {"trained": TRAINED, "untrained": UNTRAINED}
    weights = model.folder / names.get(model.weights, model.weights)
    preparation = describe_preparation(network, model.card.released, model.card.squash)
    return Subject(
        network, model.card, preparation, weights, tuple(findings),
        tuple(_name(network, finding) for finding in findings),
    )  # fmt: skip


def usable_targets(subject: Subject) -> list[str]:
    """The targets that have a form for the network."""
    return [name for name in target_names() if not _reason(subject, name)]


def _reason(subject: Subject, to: str) -> str:
    try:
        find_target(to).refuse(subject)
    except NotExportableError as error:
        return str(error)
    return ""


def _refusal(subject: Subject, to: str, error: NotExportableError) -> str:
    *others, last = [name for name in usable_targets(subject) if name != to]
    where = f"{', '.join(others)} and {last}" if others else last
    return f"{subject.card.method} cannot be exported to {to}: {error}; it can be to {where}."


def _name(network: Method, finding: str) -> str:
    """What is asked for a finding, as `Model.zero_shot` does."""
    query, doubt = name_finding(finding) if network.query_kind == "entity" else (finding, doubt_of(finding))
    if doubt:
        warnings.warn(doubt, UnknownFindingWarning, stacklevel=4)
    return query


def _mark(folder: Path, to: str, method: str, weights: str) -> None:
    """Say that the folder is an export, with the digests of its files."""
    files = {
        path.relative_to(folder).as_posix(): file_digest(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }
    content = {"radalign": version("radalign"), "to": to, "method": method, "weights": weights, "files": files}
    (folder / MARK).write_text(json.dumps(content, indent=1), encoding="utf-8")
