"""`python -m benchmarks.coverage`: how many printed numbers of the four papers have a network of ours to stand beside.

A printed number has a counterpart where `published_names.yaml` names a network for its row, and that network can be
run: the method is there, and so is the preset of its variant, `configs/variants/<method>/<variant>.yaml`. The data has
to be a dataset of ours, and the task one that this dataset has, with the setting. The others are named, with a reason
for each. `--every-source` counts re-runs by others and model cards too.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cohorts.registry import cohort_names, dataset
from cohorts.subsets import FRACTIONS
from evaluation.results.summary import UNTRAINED
from evaluation.tables.comparisons import VARIANT, is_released
from evaluation.tables.paper_tables import read_papers
from evaluation.tables.published import PublishedNumber, explain_missing, find_counterpart, read_published, to_row
from evaluation.tasks.registry import task, task_names, tasks_on
from models.registry import method_names, released_names
from store.presets import FOLDER

PAPERS = ("ConVIRT", "MGCA", "MedKLIP", "LRCLR")  # of paper_tables.yaml: those that Radalign rebuilds
VARIANTS = FOLDER / "variants"
MINUS = " - "  # between two networks, of a printed difference


@dataclass(frozen=True)
class Covered:
    """A printed number, the network that stands beside it, and why none does."""

    number: PublishedNumber
    network: str
    reason: str  # empty: it has a counterpart


def main(arguments: list[str] | None = None) -> None:
    """Print the counts and the numbers without a counterpart, or with `--json` one object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every-source", action="store_true", help="count re-runs by others and model cards too")
    parser.add_argument("--json", action="store_true", help="print one object")
    options = parser.parse_args(arguments)
    found = [cover(number) for number in choose_numbers(options.every_source)]
    print(json.dumps(summarise(found)) if options.json else describe(found))


def choose_numbers(every_source: bool = False) -> list[PublishedNumber]:
    """The printed numbers that are counted."""
    sources = {read_papers()[paper]["source"] for paper in PAPERS}
    return [number for number in read_published() if every_source or number.source in sources]


def cover(number: PublishedNumber) -> Covered:
    """Look for what stands beside a number."""
    network = find_counterpart(number)
    if network is None:
        return Covered(number, "", explain_missing(number) or "No method of ours is named for this row.")
    reasons = (*map(explain_network, network.split(MINUS)), explain_data(number))
    return Covered(number, network, next(filter(None, reasons), ""))


def explain_network(name: str) -> str:
    """Why a network that results call `name` cannot be run; empty where it can."""
    network = name.removeprefix(UNTRAINED)
    method, _, variant = network.partition(VARIANT)
    if is_released(network):
        return "" if method in released_names() else f"Released weights of {method} cannot be imported."
    if method not in method_names():
        return f"There is no method {method}."
    if variant and not (VARIANTS / method / f"{variant}.yaml").exists():
        return f"There is no preset of the variant {variant} of {method}."
    return ""


def explain_data(number: PublishedNumber) -> str:
    """Why a number cannot be measured on data of ours; empty where it can."""
    row = to_row(number)
    if row["cohort"] not in cohort_names():
        return f"There is no dataset {row['cohort']}."
    if row["task"] not in task_names():
        return f"There is no task {row['task']}."
    if row["task"] not in tasks_on(dataset(row["cohort"])):
        return f"The dataset {row['cohort']} does not have the task {row['task']}."
    settings = {setting.name for setting in task(row["task"]).repeated_settings(FRACTIONS, 1)}
    return "" if row["setting"] in settings else f"The task {row['task']} has no setting {row['setting']}."


def summarise(found: Sequence[Covered]) -> dict[str, Any]:
    """The counts, in all and by source, and the numbers without a counterpart by table, row and reason."""
    by_source = {source: _count(one for one in found if one.number.source == source) for source in _sources(found)}
    missing = Counter((one.number.place, one.number.method, one.reason) for one in found if one.reason)
    named = [
        {"table": table, "row": row, "numbers": count, "reason": why} for (table, row, why), count in missing.items()
    ]
    return {**_count(found), "sources": by_source, "without": named}


def describe(found: Sequence[Covered]) -> str:
    """The same in words."""
    summary = summarise(found)
    lines = [f"{_in_words(summary)} in all.", ""]
    lines += [f"  {source}: {_in_words(counts)}." for source, counts in summary["sources"].items()]
    if summary["without"]:
        lines += ["", "Without a counterpart:"]
        lines += [f"  {one['numbers']} of {one['row']} ({one['table']}): {one['reason']}" for one in summary["without"]]
    return "\n".join(lines)


def _sources(found: Iterable[Covered]) -> list[str]:
    return list(dict.fromkeys(one.number.source for one in found))


def _count(found: Iterable[Covered]) -> dict[str, int]:
    reasons = [one.reason for one in found]
    return {"numbers": len(reasons), "with_counterpart": reasons.count("")}


def _in_words(counts: dict[str, Any]) -> str:
    numbers, covered = counts["numbers"], counts["with_counterpart"]
    return f"{covered} of {numbers} numbers ({100 * covered / max(numbers, 1):.1f} %) have a counterpart"


if __name__ == "__main__":
    main()
