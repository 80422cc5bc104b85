"""A trained RadGraph model as a source of graphs, when its weights are at hand.

The model runs through the public package `radgraph` (0.1.18, MIT). The package needs transformers below 5 and so cannot
live in our own environment: it gets one of its own, whose interpreter is given here. Weights are a folder as the
package unpacks it, named after the kind of model, with config.json, weights.th and vocabulary/. The package loads
weights.th by `torch.load`, which from torch 2.6 on refuses to run code from it; older torch is refused here. The
tokenizer that config.json names must be in that environment's cache or reachable.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from report_parsing.errors import ReportError
from report_parsing.radgraph.files import Reject, graph_of
from report_parsing.radgraph.graph import ABSENT, ANATOMY, PRESENT, UNCERTAIN, Graph
from store.errors import UserError

KINDS = ("radgraph", "radgraph-xl", "modern-radgraph-xl")  # of models, and names of their folders
_PARTS = ("config.json", "weights.th", "vocabulary")
_ASSERTIONS = {"definitely present": PRESENT, "definitely absent": ABSENT, "uncertain": UNCERTAIN}


class ModelError(UserError):
    """The model cannot run; one sentence that says what is missing."""


def annotate(
    reports: Iterable[tuple[str, str]], weights: Path, rejects: list[Reject], python: Path | None = None
) -> Iterator[tuple[str, Graph]]:
    """Graphs of (key, report text) pairs, in their order, from a trained model.

    Args:
        reports: texts as they are; the package tokenises them, and `Graph.text` is its text.
        weights: folder of the weights.
        rejects: reports on which the model fails are appended here instead.
        python: interpreter of an environment that has the package `radgraph`; our own by default.

    Raises:
        ModelError: weights or package are missing or do not fit together.
    """
    _check(weights)
    reports = list(reports)
    texts = [text for _, text in reports if text.strip()]  # the package fails on blank ones
    with TemporaryDirectory() as folder:
        asked, answered = Path(folder, "reports.jsonl"), Path(folder, "annotations.jsonl")
        asked.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
        _run(python or Path(sys.executable), weights.resolve(), asked, answered)
        with answered.open(encoding="utf-8") as lines:
            for key, text in reports:
                if not text.strip():
                    yield key, Graph("", {})
                    continue
                try:
                    yield key, graph_of_annotation(json.loads(next(lines)))
                except ReportError as error:
                    rejects.append(Reject(key, error.reason, error.detail))


def graph_of_annotation(annotation: Any) -> Graph:
    """The graph of what the package says about one report; ReportError if that is unusable.

    Newer models say `Observation::definitely present` where the published files say `OBS-DP`, and know anatomies that
    are absent or uncertain, and measurements; those count as what they are a kind of.
    """
    if annotation is None:
        raise ReportError("model_failed", "the model failed on this report")
    try:
        entities = {
            name: {**entity, "label": _published_label(entity["label"])}
            for name, entity in annotation["entities"].items()
        }
    except (AttributeError, KeyError, TypeError):
        raise ReportError("bad_annotation", "the model's answer has no entities with labels") from None
    return graph_of({**annotation, "entities": entities})


def _published_label(label: str) -> str:
    kind, *_, assertion = label.split("::") if "::" in label else (label, "")
    return ANATOMY if kind == "Anatomy" else _ASSERTIONS.get(assertion, label)


def _check(weights: Path) -> None:
    missing = [part for part in _PARTS if not (weights / part).exists()]
    if missing:
        raise ModelError(
            f"{weights} holds no weights of a RadGraph model ({', '.join(missing)} missing); give the folder that the "
            "package radgraph unpacks them into, or read published graphs from a file instead"
        )
    if weights.resolve().name not in KINDS:
        raise ModelError(
            f"rename {weights} to the kind of its model, one of {', '.join(KINDS)}: the package goes by it"
        )


def _run(python: Path, weights: Path, asked: Path, answered: Path) -> None:
    source = (files("report_parsing.radgraph") / "run_model.py").read_text(encoding="utf-8")
    try:
        run = subprocess.run(
            [python, "-c", source, weights, asked, answered], cwd=asked.parent, capture_output=True, text=True
        )
    except OSError as error:
        raise ModelError(f"{python} does not start ({error.strerror}); give the path of a python") from error
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise ModelError(f"the RadGraph model does not run: {last}")
