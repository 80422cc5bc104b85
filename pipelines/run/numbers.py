"""What was trained and how well it does: the last lines of a run. `radalign results` has all numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest
from textwrap import wrap

from evaluation.metrics.values import MACRO
from evaluation.results.headlines import make_headline
from evaluation.results.latest import latest_by_pretraining
from evaluation.results.summary import UNTRAINED, Row, is_simulated, summarise_rows
from evaluation.results.text_tables import SIMULATION_NOTE, WIDTH, align, format_value
from evaluation.results.trainings import Training
from evaluation.tasks.registry import task
from ingestion.workspace import Workspace

MOST = 15  # lines of numbers: with what stands around them, 25 follow the headlines
SIMULATED = "*"
HEAD = ("dataset", "task, metric", "labels", "trained", "untrained")


def leading_numbers(workspace: Workspace, method: str, every_dataset: bool) -> Iterator[str]:
    """Lines of at most WIDTH characters: a headline for each cohort of the home that networks were pretrained on.

    The first is that of the latest training of `method` on the workspace's cohort, the others follow newest first.
    Then the leading metric of each task of this training, trained beside untrained. `every_dataset`: also of other
    datasets than that of the pretraining.
    """
    first: list[str] = []
    others: list[str] = []
    table: list[str] = []
    for pretraining, results in (found := latest_by_pretraining(workspace)):
        rows, here = results.to_pylist(), pretraining.cohort == workspace.cohort_name()
        own = next((each for each in pretraining.trainings if here and each.run.method == method), None)
        (first if own else others).extend(make_headline(pretraining, own or pretraining.trainings[0], rows).lines())
        if own:
            shown = [row for row in rows if every_dataset or row["cohort"] in pretraining.datasets]
            table = list(_tabulate([row for row in shown if _is_of(row, own) and _is_leading(row)]))
    yield from (*first, *others, *table)
    if any(one.simulated for one, _ in found):
        marked = any(SIMULATED in line for line in table)
        yield from ("", *wrap(f"{SIMULATED} simulated. {SIMULATION_NOTE}" if marked else SIMULATION_NOTE, WIDTH))


def _is_of(row: Row, training: Training) -> bool:
    run = training.run
    known = {run.name: run.checkpoint_digest, UNTRAINED + run.name: run.untrained_digest}
    return known.get(row["method"]) == row["checkpoint"]


def _is_leading(row: Row) -> bool:
    return row["class"] == MACRO and row["value"] is not None and row["metric"] == task(row["task"]).leading


def _tabulate(rows: Sequence[Row]) -> Iterator[str]:
    """A line per dataset, task and share of the labels; of very many a choice from every dataset."""
    numbers: dict[tuple[str, bool, str, str, str], dict[bool, list[Row]]] = {}
    for row in rows:
        place = (row["cohort"], is_simulated(row), row["task"], row["metric"], row["setting"])
        numbers.setdefault(place, {}).setdefault(row["method"].startswith(UNTRAINED), []).append(row)
    places = sorted(place for place, found in numbers.items() if False in found)
    if not places:
        return
    chosen = _choose(places)
    lines = [
        (cohort + SIMULATED * simulated, f"{name}, {metric}", setting, *_cells(numbers[place]))
        for place in chosen
        for cohort, simulated, name, metric, setting in [place]
    ]
    yield ""
    yield from align([HEAD, *lines]).splitlines()
    if left := len(places) - len(chosen):
        yield f"and {left} more"


def _cells(found: dict[bool, list[Row]]) -> tuple[str, str]:
    trained, raw = summarise_rows(found[False]), summarise_rows(found[True]) if True in found else None
    text = format_value(found[False]) if trained.std is None else f"{trained.value:.3f} ± {trained.std:.3f}"
    return text, "" if raw is None else f"{raw.value:.3f}"


def _choose(places: Sequence[tuple[str, bool, str, str, str]]) -> list[tuple[str, bool, str, str, str]]:
    """At most MOST of them: the first of each dataset, then the second of each, and so on."""
    datasets = [list(group) for _, group in groupby(places, key=lambda place: place[0])]
    turns = [place for turn in zip_longest(*datasets) for place in turn if place]
    return sorted(turns[:MOST])
