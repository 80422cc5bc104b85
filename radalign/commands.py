"""What each sub-command of `radalign` does. Each returns the exit status."""

from __future__ import annotations

import re
import sys
import warnings
from argparse import Namespace
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from radalign.errors import RadalignError, one_sentence
from radalign.jobs import refuse, start_job
from store.atomic import replacing

NAME = re.compile(r"[A-Za-z0-9+_.-]+")  # of a run in results
LIBRARY_EVALUATION = {  # options of `radalign evaluate MODEL DATASET`, with their defaults
    "weights": "trained", "tasks": None, "fractions": None, "repeats": 1, "split": "", "csv": "",
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
        repeats=options.repeats, split=options.split, preset=options.preset, log=_log,
    )  # fmt: skip
    if options.csv:
        table.to_csv(options.csv, index=False)
        print(f"{len(table)} numbers are in {options.csv}.")
    means = table[table["class"] == "macro"].drop(columns=["cohort", "class", "note"])
    print((means if len(means) else table).to_string(index=False, float_format="{:.3f}".format))
    return 0


def run_predict(options: Namespace) -> int:
    """Print or write a row per image: its path and the score of each finding."""
    from radalign.loading import load
    from radalign.predicting import as_text, find_images, score_files, write_pictures

    paths = find_images(options.images)
    model = load(options.model, options.weights, options.home, options.cohort)
    with warnings.catch_warnings():
        warnings.simplefilter("once")
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        rows = list(score_files(model, paths, options.labels))
    if options.out:
        with replacing(Path(options.out)) as partial:
            partial.write_text(as_text(rows, options.labels, ","), encoding="utf-8")
        print(f"{len(rows)} rows are in {options.out}.")
    else:
        sys.stdout.write(as_text(rows, options.labels, "\t"))
    if options.maps:
        print(f"{write_pictures(model, rows, options.labels, Path(options.maps))} pictures are in {options.maps}.")
    failed = sum(row.scores is None for row in rows)
    if failed:
        _log(f"{failed} of {len(rows)} images cannot be read; the column `reason` says why.")
    return int(failed == len(rows))


def run_import(options: Namespace) -> int:
    """Make a released file a run, and print its folder."""
    from ingestion.workspace import Workspace
    from tracking.imported import import_released

    if options.name and not NAME.fullmatch(options.name):
        raise RadalignError(f"A name is made of letters, digits and +_.- only, unlike `{options.name}`.")
    workspace = Workspace(home=options.home, cohort=options.cohort)
    texts = Path(options.texts) if options.texts else None
    with one_sentence():
        run = import_released(workspace, Path(options.file), _log, options.method, texts, options.name)
    print(f"{run.name} is in {workspace.home_path() / run.output}.")
    print(f"`radalign evaluate {run.method}` evaluates it.")
    return 0


def run_results(options: Namespace) -> int:
    """Print all numbers of the latest trainings, by the cohort of the pretraining, or write their rows to a file."""
    from ingestion.workspace import Workspace
    from radalign.results import as_frame, describe_results, find_results

    workspace = Workspace(home=options.home)
    with one_sentence():
        found = find_results(workspace, options.cohort)
    if options.csv:
        table = as_frame(found)
        table.to_csv(options.csv, index=False)
        print(f"{len(table)} rows are in {options.csv}.")
        return 0
    for line in describe_results(found):
        print(line)
    page = workspace.home_path() / "results" / "tables" / "index.html"
    print(f"\nEverything is in {workspace.home_path()}; `make ui` shows the runs in the browser.")
    if page.exists():
        print(f"The tables, beside published numbers: {page}")
    return 0


def run_doctor(options: Namespace) -> int:
    """Print what was found; the exit status is 1 where something is missing that every run needs."""
    from radalign.doctor import examine

    findings = examine(options.home)
    for finding in findings:
        print(f"{finding.mark}  {finding.subject}: {finding.text}")
        if finding.advice:
            print(f"      {finding.advice}")
    return int(any(finding.state == "missing" for finding in findings))


def run_clean(options: Namespace) -> int:
    """Print what is removed, and how much room that makes."""
    from ingestion.workspace import Workspace
    from radalign.cleaning import clean

    with one_sentence():
        found = clean(Workspace(home=options.home).home_path(), options.dry_run, _log)
    for line in found.describe():
        print(line)
    removed = "This was a dry run: nothing was removed." if options.dry_run else "All of this was removed."
    print(removed if found.found else "There is nothing that no run needs.")
    return 0


def run_methods(options: Namespace) -> int:
    """Print the methods, or one method's settings with their defaults and descriptions."""
    from models.registry import method_names, recipe, released_names, settings_class
    from store.settings import described_settings

    if options.method is None:
        for name in method_names():
            module = import_module(f"models.methods.{name}")
            print(f"{name:<12}{_first_sentence(module.__doc__)}")
        print("\nReleased weights that `radalign import` reads:")
        for name in released_names():
            module = import_module(f"models.released.formats.{name}")
            print(f"{name:<12}{_first_sentence(module.__doc__)}")
        return 0
    with one_sentence():
        settings = settings_class(options.method)
    print(f"{_first_sentence(settings.__doc__)}\n\nSettings of the method (method_config):")
    for name, _, default, description in described_settings(settings):
        print(f"  {name} = {default!r}\n      {description}")
    print("\nRecipe of its training, over the defaults of training.config:")
    for name, value in recipe(options.method).items():
        print(f"  {name} = {value!r}")
    return 0


def run_datasets(options: Namespace) -> int:
    """Print the datasets with the tasks that they are used for, or all that is known of one."""
    from cohorts import registry
    from evaluation.tasks.registry import tasks_on

    if options.dataset is None:
        for name in registry.cohort_names():
            tasks = ", ".join(tasks_on(registry.dataset(name)))
            print(f"{name:<20}{tasks or 'pretraining'}")
        return 0
    with one_sentence():
        facts = registry.dataset(options.dataset)
        how = registry.how_to_get(options.dataset)
    print(f"Tasks: {', '.join(tasks_on(facts)) or 'pretraining'}")
    print(f"Classes that classifiers learn: {', '.join(facts.classes) or 'all labels of the dataset'}")
    print(f"Words of zero-shot tasks: {_words(facts.zero_shot)}")
    print(f"Regions: {', '.join(facts.regions) or 'none are detected or segmented'}")
    print(f"To use RADALIGN_{options.dataset.upper()}_ROOT, {how}")
    return 0


def _words(zero_shot: Any) -> str:
    if zero_shot is None:
        return "every label that is the name of a known observation"
    return ", ".join(zero_shot.values()) or "none"


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


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


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
