"""`python -m evaluation.learning.ensemble SHARDS RUN [RUN ...]`: what several networks score, alone and together.

A RUN is the folder of a run or of one of its checkpoints. CheXzero averages the predictions of its ten best
checkpoints; thresholds have the best MCC on the validate split, as there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.inference import run_zero_shot
from evaluation.metrics.classification import is_scorable
from evaluation.metrics.values import MACRO, ResultValue
from evaluation.tasks.zero_shot_classification import best_thresholds, score
from models.compute import AUTOMATIC
from models.ensemble import Ensemble
from models.method import Method
from models.saved import TRAINED, load_method
from shards.reader import ShardData, ShardReader
from store.errors import UserError

METRICS = ("auroc", "mcc", "f1")


def main(arguments: Sequence[str]) -> int:
    """Print the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.learning.ensemble", description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    try:
        reader = ShardReader(options.shards)
        members = [load_member(folder) for folder in options.runs]
        rows = {str(folder): [member] for folder, member in zip(options.runs, members, strict=True)}
        rows["together"] = members
        splits = reader.read("validate"), reader.read("test")
        for name, networks in rows.items():
            print(name, *(_format(value) for value in means(Ensemble(networks), *splits)), sep="\t")
    except UserError as error:
        sys.stderr.write(f"ensemble: {error}\n")
        return 1
    return 0


def load_member(folder: Path) -> Method:
    """The trained network of a run's `folder`, or of one of its checkpoints' folders."""
    if folder.parent.name == "checkpoints":
        return AUTOMATIC.place(load_method(folder.parents[1], str(folder.relative_to(folder.parents[1]) / TRAINED)))
    return AUTOMATIC.place(load_method(folder))


def means(method: Method, validate: ShardData, test: ShardData) -> list[ResultValue]:
    """The means over the classes of zero-shot classification on `test`, thresholds from `validate`."""
    classes = [name for name in sorted(test.labels) if is_scorable(_labels(test, name)) and name in validate.labels]
    if not classes:
        raise EvaluationError("No label is present in some images of the test split and absent in others.")
    chosen = best_thresholds(run_zero_shot(method, validate, classes).scores, _matrix(validate, classes), "mcc")
    scores = run_zero_shot(method, test, classes).scores
    values = score(scores, _matrix(test, classes), classes, test.subject_ids, chosen)
    return [value for value in values if value.class_name == MACRO and value.metric in METRICS]


def _matrix(data: ShardData, classes: Sequence[str]) -> np.ndarray:
    return np.stack([_labels(data, name) for name in classes], axis=1)


def _labels(data: ShardData, name: str) -> np.ndarray:
    """1 present, 0 absent, nan where uncertain or silent."""
    values = data.labels[name]
    return np.where(values >= 0, values, np.nan)


def _format(value: ResultValue) -> str:
    if value.value is None:
        return f"{value.metric} not available"
    return f"{value.metric} {value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
