"""The sub-command `inspect`: what a folder is, and what would become of it."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from radalign.command.printing import log
from store.errors import UserError

if TYPE_CHECKING:
    from ingestion.inspection.archives import Archive
    from ingestion.inspection.counts import Counts, Reports
    from ingestion.inspection.look import Inspection

MOST_LABELS = 20  # that are printed
MOST_VALUES = 8
WRONG = 2  # exit status


def run_inspect(options: Namespace) -> int:
    """Print what was found; exit status 2 where there is nothing that can be read."""
    from ingestion.inspection.look import inspect

    try:
        found = inspect(Path(options.path), log)
    except UserError as error:
        sys.stderr.write(f"radalign: {error}\n")
        return WRONG
    if options.json:
        print(json.dumps(as_json(found), indent=2))
    else:
        for line in describe(found):
            print(line)
    return 0 if any(archive.is_usable for archive in found.archives) else WRONG


def as_json(found: Inspection) -> dict[str, Any]:
    """Everything that was found, without texts of reports and without identifiers."""
    return {
        "path": str(found.path),
        "files": found.listing.estimate,
        "every_folder_was_listed": found.listing.is_whole,
        "datasets": [
            asdict(archive) | {"root": str(archive.root), "next": next_commands(archive)} for archive in found.archives
        ],
    }


def describe(found: Inspection) -> Iterator[str]:
    """The lines that are printed."""
    listing = found.listing
    about = "" if listing.is_whole else "about "
    yield f"{found.path}: {about}{listing.estimate} files."
    if listing.closed:
        yield f"{listing.closed} folders may not be opened."
    if listing.links_out:
        yield f"{listing.links_out} links to folders outside it were not followed."
    for archive in found.archives:
        yield ""
        yield from describe_archive(archive)


def describe_archive(archive: Archive) -> Iterator[str]:
    """What is printed of one dataset."""
    simulated = ", simulated" if archive.is_simulated else ""
    if archive.is_usable:
        yield f"{archive.root} is {archive.name}{simulated}. This is certain: its reader reads it."
    else:
        yield f"{archive.root} is {archive.name}{simulated}, but incomplete. {archive.missing}"
    if archive.counts is not None:
        yield from describe_counts(archive.counts)
    commands = next_commands(archive)
    if commands:
        yield "Next:"
        yield from (f"    {command}" for command in commands)


def describe_counts(counts: Counts) -> Iterator[str]:
    """What would become of an archive."""
    rejected = counts.images - counts.usable
    yield (
        f"  {counts.images} images: {counts.usable} would be used (of {counts.studies} studies and {counts.patients} "
        f"patients), {rejected} would be rejects."
    )
    for reason, detail, images in counts.rejects:
        yield f"    {images} {reason}: {detail}"
    if not counts.usable:
        return
    yield f"  Views: {_list(counts.views)}. Splits: {_list(counts.splits)}."
    ages = "not said" if counts.ages is None else "{:g} to {:g} years, median {:g}".format(
        counts.ages[0], counts.ages[2], counts.ages[1]
    )  # fmt: skip
    yield f"  Sexes: {_list(counts.sexes)}. Ages: {ages}."
    facts = {"images with a date": counts.dates, "devices": counts.devices, "sites": counts.sites}
    if any(facts.values()):
        yield f"  Other facts: {', '.join(f'{number} {name}' for name, number in facts.items() if number)}."
    yield from _describe_labels(counts.labels)
    if counts.annotated:
        yield f"  Annotated images: {_list(counts.annotated)}."
    yield f"  Reports: {_describe_reports(counts.reports)}"


def next_commands(archive: Archive) -> list[str]:
    """What to type next."""
    if not archive.is_usable or archive.counts is None:
        return []
    root = quote(str(archive.root))
    if archive.counts.reports is None:
        variable = f"RADALIGN_{archive.name.upper()}_ROOT"
        return [f"{variable}={root} radalign evaluate medklip    # it has no reports to pretrain on"]
    return [f"radalign ingest --cohort {archive.name} --root {root}"]


def _describe_labels(labels: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    if not labels:
        yield "  Labels: none."
        return
    yield f"  Labels ({len(labels)}):"
    for label, said in list(labels.items())[:MOST_LABELS]:
        yield f"    {label}: {', '.join(f'{count} {value}' for value, count in said.items() if count)}"
    if len(labels) > MOST_LABELS:
        yield f"    and {len(labels) - MOST_LABELS} more"


def _describe_reports(reports: Reports | None) -> str:
    if reports is None:
        return "none."
    unread = f"; not readable: {_list(reports.unread)}" if reports.unread else ""
    return f"of {reports.read} that were looked at: {_list(reports.languages) or 'none read'}{unread}."


def _list(counts: Mapping[str, int]) -> str:
    shown = [f"{count} {name}" for name, count in list(counts.items())[:MOST_VALUES]]
    return ", ".join([*shown, *([f"and {len(counts) - MOST_VALUES} more"] if len(counts) > MOST_VALUES else [])])
