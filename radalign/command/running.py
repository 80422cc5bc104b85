"""The sub-commands that train and evaluate: `ingest`, `pretrain`, `evaluate`, `audit`,
`monitor`. Each returns the exit status."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import yaml

from radalign.command.jobs import refuse, start_job
from radalign.command.printing import log
from radalign.errors import RadalignError, one_sentence

LIBRARY_EVALUATION = {  # options of `radalign evaluate MODEL DATASET`, with their defaults
    "weights": "trained", "tasks": None, "fractions": None, "repeats": 1, "split": "", "csv": "",
    "unit": "image", "ask": "name", "view": "frontal",
}  # fmt: skip


def run_ingest(options: Namespace) -> int:
    """Become the job."""
    return start_job("ingest", options)


def run_pretrain(options: Namespace) -> int:
    """Train on shards with a progress bar, and print the folder of the run; without shards become the job."""
    if not options.shards and not options.output:
        refuse(options, {"knowledge": ""}, "--shards and --output")
        return start_job(f"pretrain_{options.method}", options)
    if not options.shards or not options.output:
        raise RadalignError("--shards and --output go together: name the folder of the shards and that of the run.")
    refuse(options, {"config": [], "home": "", "cohort": "", "root": ""}, "the job, without --shards and --output")
    return _train_on_shards(options)


def _train_on_shards(options: Namespace) -> int:
    from tqdm import tqdm

    from radalign.pretraining import pretrain

    settings = _read_settings(options.settings)
    if options.preset:
        from training.recipes import merge_settings, preset_options

        with one_sentence():
            settings = merge_settings(preset_options(options.method, options.preset), settings)
    with tqdm(unit="step", disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        model = pretrain(options.method, options.shards, options.output, options.knowledge, show, **settings)
    print(f"{options.method} is trained. Load it with radalign.load({str(model.folder)!r}).")
    return 0


def run_evaluate(options: Namespace) -> int:
    """Evaluate on a dataset, and print the means over classes; without a dataset become the job."""
    if not options.dataset:
        refuse(options, LIBRARY_EVALUATION, "`radalign evaluate MODEL DATASET`")
        return start_job(f"evaluate_{options.model}", options)
    refuse(options, {"config": [], "settings": []}, "`radalign evaluate METHOD`, without DATASET")
    return _evaluate_on_dataset(options)


def run_audit(options: Namespace) -> int:
    """Become the job."""
    return start_job(f"audit_{options.method}", options)


def run_monitor(options: Namespace) -> int:
    """Become the job."""
    return start_job(f"monitor_{options.method}", options)


def _evaluate_on_dataset(options: Namespace) -> int:
    from cohorts import registry
    from radalign.evaluation import evaluate
    from radalign.loading import load

    with one_sentence():
        registry.dataset(options.dataset)
    if options.root and "://" not in options.root and not Path(options.root).is_dir():
        raise RadalignError(f"--root {options.root} is no folder.")
    model = load(options.model, options.weights, options.home, options.cohort)
    table = evaluate(
        model, options.dataset, options.root, options.tasks, home=options.home, fractions=options.fractions,
        repeats=options.repeats, split=options.split, preset=options.preset, unit=options.unit, ask=options.ask,
        view=options.view, log=log,
    )  # fmt: skip
    if options.csv:
        table.to_csv(options.csv, index=False)
        print(f"{len(table)} numbers are in {options.csv}.")
    means = table[table["class"] == "macro"].drop(columns=["cohort", "class", "note"])
    print((means if len(means) else table).to_string(index=False, float_format="{:.3f}".format))
    return 0


def _read_settings(pairs: list[str]) -> dict[str, Any]:
    """`NAME=VALUE` pairs as nested settings; values are read as YAML."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise RadalignError(f"--set takes NAME=VALUE, such as epochs=1, not `{pair}`.")
        outer, dot, inner = name.partition(".")
        parsed = yaml.safe_load(value)
        if dot:
            settings.setdefault(outer, {})[inner] = parsed
        else:
            settings[name] = parsed
    return settings
