"""The sub-commands that list and tidy: `results`, `doctor`, `clean`, `methods`, `datasets`."""

from __future__ import annotations

from argparse import Namespace
from importlib import import_module
from typing import Any

from radalign.command.printing import log
from radalign.errors import one_sentence
from store.remote import mirror


def run_results(options: Namespace) -> int:
    """Print all numbers of the latest trainings, by the cohort of the pretraining, or write their rows to a file."""
    from ingestion.workspace import Workspace
    from radalign.command.results import as_frame, describe_results, find_results

    workspace = Workspace(home=options.home)
    with one_sentence():
        mirror.refresh(workspace.home_path())
        found = find_results(workspace, options.cohort)
    if options.csv:
        table = as_frame(found)
        table.to_csv(options.csv, index=False)
        print(f"{len(table)} rows are in {options.csv}.")
        return 0
    for line in describe_results(found):
        print(line)
    page = workspace.home_path() / "results" / "tables" / "index.html"
    print(f"\nEverything is in {mirror.name_of(workspace.home_path())}; `make ui` shows the runs in the browser.")
    if page.exists():
        print(f"The tables, beside published numbers: {page}")
    return 0


def run_doctor(options: Namespace) -> int:
    """Print what was found; the exit status is 1 where something is missing that every run needs."""
    from radalign.command.doctor import examine

    findings = examine(options.home)
    for finding in findings:
        print(f"{finding.mark}  {finding.subject}: {finding.text}")
        if finding.advice:
            print(f"      {finding.advice}")
    return int(any(finding.state == "missing" for finding in findings))


def run_clean(options: Namespace) -> int:
    """Print what is removed, and how much room that makes."""
    from ingestion.workspace import Workspace
    from radalign.command.cleaning import clean

    with one_sentence():
        home = Workspace(home=options.home).home_path()
        mirror.refresh(home)
        found = clean(home, options.dry_run, log)
    for line in found.describe():
        print(line)
    removed = "This was a dry run: nothing was removed." if options.dry_run else "All of this was removed."
    print(removed if found.found else "There is nothing that no run needs.")
    return 0


def run_methods(options: Namespace) -> int:
    """Print the methods, or one method's settings with their defaults and descriptions."""
    from models.registry import describe_method, method_names, recipe, released_names, settings_class
    from store.settings import described_settings

    if options.method is None:
        for name in method_names():
            print(f"{name:<21}{_first_sentence(describe_method(name))}")
        print("\nReleased weights that `radalign import` reads:")
        for name in released_names():
            module = import_module(f"models.released.formats.{name}")
            print(f"{name:<21}{_first_sentence(module.__doc__)}")
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
