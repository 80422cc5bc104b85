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

from cohorts.archive.names import on_one_line
from cohorts.views import KINDS, NOT_CHOSEN
from radalign.command.printing import log
from store.errors import sentence_of

if TYPE_CHECKING:
    from ingestion.inspection.archives import Archive
    from ingestion.inspection.counts import Counts, Reports
    from ingestion.inspection.look import Export, Inspection
    from ingestion.inspection.trees import Tree

REMOTE = "://"
MOST_LABELS = 20  # that are printed
MOST_VALUES = 8
WRONG = 2  # exit status
ALL_VIEWS = f"inventory.views=[{', '.join(KINDS)}]"
ARCHIVE, FILE = "archive", "archive.yaml"  # the dataset that a description makes, and its file


def run_inspect(options: Namespace) -> int:
    """Print what was found, and write its description; exit status 2 where there is nothing that can be read."""
    from ingestion.inspection.look import inspect

    try:
        expect_local(options.path)
        found = inspect(Path(options.path).absolute(), lambda line: log(on_one_line(line)))
        written = _write(found, options)
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        sys.stderr.write(f"radalign: {sentence}\n")
        return WRONG
    lines = [json.dumps(as_json(found, written), indent=2)] if options.json else describe(found, written)
    for line in lines:
        print(line if options.json else on_one_line(line))
    return 0 if found.is_usable else WRONG


def expect_local(path: str) -> None:
    """InspectionError for an address on object storage."""
    from ingestion.inspection.errors import InspectionError

    if REMOTE in path:
        raise InspectionError(f"{path} is on object storage, which is not looked at; copy a part of it to a folder.")


def as_json(found: Inspection, written: Path | None) -> dict[str, Any]:
    """Everything that was found, without texts of reports and without identifiers."""
    return {
        "path": str(found.path),
        "files": found.listing.estimate,
        "every_folder_was_listed": found.listing.is_whole,
        "datasets": [_archive_as_json(archive) for archive in found.archives],
        "export": None if found.export is None else _export_as_json(found.export, written),
        "tables_that_cannot_be_read": found.problems,
    }


def describe(found: Inspection, written: Path | None) -> Iterator[str]:
    """The lines that are printed."""
    listing = found.listing
    about = "" if listing.is_whole else "about "
    yield f"{found.path}: {about}{listing.estimate} files."
    if listing.closed:
        yield f"{listing.closed} folders may not be opened."
    if listing.links_out:
        yield f"{listing.links_out} links to folders outside it were not followed."
    yield from found.problems
    for archive in found.archives:
        yield ""
        yield from describe_archive(archive)
    if found.export is not None:
        yield ""
        yield from describe_export(found.export, found.path, written)


def describe_archive(archive: Archive) -> Iterator[str]:
    """What is printed of one dataset."""
    name = "an export with a description" if archive.name == ARCHIVE else archive.name
    simulated = ", simulated" if archive.is_simulated else ""
    if archive.is_usable:
        yield f"{archive.root} is {name}{simulated}. This is certain: its reader reads it."
    else:
        yield f"{archive.root} is {name}{simulated}, but incomplete. {archive.missing}"
    if archive.counts is not None:
        yield from describe_counts(archive.counts)
    commands = next_commands(archive)
    if commands:
        yield "Next:"
        yield from (f"    {command}" for command in commands)


def describe_export(export: Export, path: Path, written: Path | None) -> Iterator[str]:
    """What is printed of an export that is no published dataset."""
    yield f"{export.root} is a {export.kind}, as far as its names and values tell: a guess, to be checked."
    if export.archive is None or not export.archive.is_usable:
        if export.archive is not None:
            yield f"  With the description below it cannot be read yet. {export.archive.missing}"
        if export.tree is not None:
            yield from describe_tree(export.tree)
    if export.archive is not None and export.archive.counts is not None:
        yield from describe_counts(export.archive.counts)
    yield f"Its description{f', written to {written}' if written else ''}:"
    place = (written or Path(FILE)).resolve()
    yield from (f"    {line}" for line in export.describe(_root_in(export, place)).splitlines())
    yield "Next:"
    if written is None:
        yield f"    radalign inspect {quote(str(path))} --write {FILE}"
    else:
        yield f"    radalign ingest --cohort archive --root {quote(str(place))}    # after a look at {written}"


def describe_tree(tree: Tree) -> Iterator[str]:
    """What the headers of some files of a tree say."""
    images = len(tree.images())
    yield (
        f"  Of {tree.looked_at} files that were looked at, {images} are chest radiographs, "
        f"{len(tree.headers) - images} other DICOM objects and {tree.others} no DICOM objects."
    )
    for reason, detail, count in tree.reasons():
        yield f"    {count} {reason}: {detail}"
    if images:
        yield f"  Views: {_list(_said(tree.count('view')))}. Sexes: {_list(_said(tree.count('sex')))}."


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
    yield f"  Views: {_list(counts.views)}. Splits: {_list(counts.splits) or 'drawn by patient'}."
    yield f"  Sexes: {_list(counts.sexes)}. Ages: {_describe_ages(counts.ages)}."
    facts = {"images with a date": counts.dates, "devices": counts.devices, "sites": counts.sites}
    if any(facts.values()):
        yield f"  Other facts: {', '.join(f'{number} {name}' for name, number in facts.items() if number)}."
    yield from _describe_labels(counts.labels)
    if counts.annotated:
        yield f"  Annotated images: {', '.join(f'{number} with {name}' for name, number in counts.annotated.items())}."
    yield f"  Reports: {_describe_reports(counts.reports)}"


def next_commands(archive: Archive) -> list[str]:
    """What to type next."""
    if not archive.is_usable or archive.counts is None:
        return []
    root = quote(str(archive.root))
    if archive.counts.reports is None:
        variable = f"RADALIGN_{archive.name.upper()}_ROOT"
        return [f"{variable}={root} radalign evaluate medklip    # it has no reports to pretrain on"]
    command = f"radalign ingest --cohort {archive.name} --root {root}"
    others = next((images for reason, _, images in archive.counts.rejects if reason == NOT_CHOSEN), 0)
    if not others:
        return [command]
    return [command, f"{command} --set '{ALL_VIEWS}'    # with the {others} images of other views"]


def _write(found: Inspection, options: Namespace) -> Path | None:
    """The file that the description was written to, where one was asked for."""
    from ingestion.inspection.describe import write_description
    from ingestion.inspection.errors import InspectionError

    if not options.write:
        return None
    if found.export is None:
        names = ", ".join(archive.name for archive in found.archives)
        raise InspectionError(f"{found.path} is {names}, which needs no description; nothing was written.")
    path = Path(options.write)
    write_description(found.export.describe(_root_in(found.export, path)), path, options.force)
    return path


def _root_in(export: Export, path: Path) -> str:
    from ingestion.inspection.describe import root_beside

    return root_beside(path, export.root)


def _archive_as_json(archive: Archive) -> dict[str, Any]:
    return asdict(archive) | {
        "root": str(archive.root),
        "is_usable": archive.is_usable,
        "next": next_commands(archive),
    }


def _export_as_json(export: Export, written: Path | None) -> dict[str, Any]:
    return {
        "kind": export.kind,
        "root": str(export.root),
        "doubts": export.guess.notes,
        "description": export.describe(_root_in(export, written or Path(FILE))),
        "written": None if written is None else str(written),
        "archive": None if export.archive is None else _archive_as_json(export.archive),
    }


def _describe_ages(ages: tuple[float, float, float] | None) -> str:
    if ages is None:
        return "not said"
    least, median, greatest = ages
    return f"{least:g} to {greatest:g} years, median {median:g}"


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


def _said(counts: Mapping[str, int]) -> dict[str, int]:
    return {value or "not said": count for value, count in counts.items()}


def _list(counts: Mapping[str, int]) -> str:
    shown = [f"{count} {name}" for name, count in list(counts.items())[:MOST_VALUES]]
    return ", ".join([*shown, *([f"and {len(counts) - MOST_VALUES} more"] if len(counts) > MOST_VALUES else [])])
