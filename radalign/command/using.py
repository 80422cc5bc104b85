"""The sub-commands that bring models in, use them and take them out. Each returns the exit status."""

from __future__ import annotations

import re
import sys
import warnings
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

from radalign.command.printing import log
from radalign.errors import RadalignError, one_sentence
from store.atomic import replacing

MOST_MODELS = 4  # that a screen shows side by side
NAME = re.compile(r"[A-Za-z0-9+_.-]+")  # of a run in results


def run_import(options: Namespace) -> int:
    """Make a released file a run, and print its folder."""
    from ingestion.workspace import Workspace
    from tracking.imported import import_released

    if options.name and not NAME.fullmatch(options.name):
        raise RadalignError(f"A name is made of letters, digits and +_.- only, unlike `{options.name}`.")
    workspace = Workspace(home=options.home, cohort=options.cohort)
    texts = Path(options.texts) if options.texts else None
    with one_sentence():
        run = import_released(workspace, Path(options.file), log, options.method, texts, options.name, options.size)
    print(f"{run.name} is in {workspace.home_path() / run.output}.")
    print(f"`radalign evaluate {run.method}` evaluates it.")
    return 0


def run_predict(options: Namespace) -> int:
    """Print or write a row per image: its path and the score of each finding."""
    from radalign.loading import load
    from radalign.predicting import as_text, find_images, score_files, write_pictures

    paths = find_images(options.images, options.maps)
    model = load(options.model, options.weights, options.home, options.cohort)
    _expect_places(options)
    with warnings.catch_warnings():
        warnings.simplefilter("once")
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        rows = list(score_files(model, paths, options.labels))
    if options.out:
        with one_sentence(), replacing(Path(options.out)) as partial:
            partial.write_text(as_text(rows, options.labels, ","), encoding="utf-8")
        print(f"{len(rows)} rows are in {options.out}.")
    else:
        sys.stdout.write(as_text(rows, options.labels, "\t"))
    if options.maps:
        with one_sentence():
            written = write_pictures(model, rows, options.labels, Path(options.maps))
        print(f"{written} pictures are in {options.maps}.")
    failed = sum(row.scores is None for row in rows)
    if failed:
        log(f"{failed} of {len(rows)} images cannot be read; the column `reason` says why.")
    return int(failed == len(rows))


def _expect_places(options: Namespace) -> None:
    """RadalignError where a table or pictures cannot be written, before anything is computed."""
    if options.out and Path(options.out).is_dir():
        raise RadalignError(f"{options.out} is a folder: give --out the name of a file.")
    if options.maps and Path(options.maps).exists() and not Path(options.maps).is_dir():
        raise RadalignError(f"{options.maps} is no folder: give --maps the name of one.")
    with one_sentence():
        if options.out:
            Path(options.out).parent.mkdir(parents=True, exist_ok=True)
        if options.maps:
            Path(options.maps).mkdir(parents=True, exist_ok=True)


def run_export(options: Namespace) -> int:
    """Write a model for another project, and print the folder."""
    from radalign.exporting.export import export, find_target
    from radalign.loading import load

    find_target(options.to)
    model = load(options.model, options.weights, options.home, options.cohort)
    with warnings.catch_warnings():
        warnings.simplefilter("once")
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        folder = export(
            model, options.to, options.out or f"{model.card.method}-{options.to}", options.findings, home=options.home
        )
    print(f"The model is in {folder}; README.md in it says how it is loaded.")
    return 0


def run_serve(options: Namespace) -> int:
    """Serve models to the browser of this machine, until Ctrl-C."""
    if missing := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
        raise RadalignError(f"{missing[0]} is not installed: run pip install '.[serve]' in the checkout.")
    from radalign.loading import load
    from radalign.serving.server import serve

    if len(options.models) > MOST_MODELS:
        raise RadalignError(f"{len(options.models)} models are given: {MOST_MODELS} at most are served at once.")
    if options.limit < 1:
        raise RadalignError("--limit is at least 1 MiB.")
    models = [load(model, options.weights, options.home, options.cohort) for model in options.models]
    with one_sentence():
        serve(models, options.port, options.limit, log)
    return 0
