"""`python -m benchmarks.openi_triplets --reports CSV`: our findings against the human MeSH codes of Open-i reports.

The CSV has the columns uid, MeSH, findings and impression; the two mapping tables are looked for beside it, then in the
shared data, unless `--mapping` names their folder. Micro F1 is over every (report, label) that the codes decide, "No
Finding" left out and shown apart; a label counts as found when the parse says it is present. Location F1 is over
(label, side and zone) of the findings of lung and pleura that the codes locate; a location of ours that none of the
codes covers is an error, one that is missed is another. Devices are shown apart: the code gives the side where a
catheter enters, our position the vessel where it ends, and the 51 positions have no side for vessels.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any

from tqdm import tqdm

from benchmarks.openi_codes import Coded, MeshCodes, locations_of, read_csv
from report_parsing.chexpert import label_report, supporting
from report_parsing.errors import ReportError
from report_parsing.reports import ReportOptions, parse_report
from report_parsing.statements.triplets import TripletParser
from report_parsing.tables import Triplet
from report_parsing.vocabulary import CHEXPERT_14, NO_FINDING, POSITIVE, SUPPORT_DEVICES

COLUMNS = ("uid", "MeSH", "findings", "impression")
MAPPING = "mesh_to_labels.csv"
_OPTIONS = ReportOptions(required=(), minimum_tokens=1)


@dataclass
class Count:
    """Right, wrong and missed decisions, and the scores they give."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def add(self, right: int, wrong: int, missed: int) -> None:
        """Count more decisions."""
        self.right += right
        self.wrong += wrong
        self.missed += missed

    @property
    def precision(self) -> float:
        """Share of what was found that is coded; 0 where nothing was found."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 0.0

    @property
    def recall(self) -> float:
        """Share of what is coded that was found; 0 where nothing is coded."""
        return self.right / (self.right + self.missed) if self.right + self.missed else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / total if total else 0.0


@dataclass
class Agreement:
    """Counts of decisions by label, for presence and for location."""

    presence: dict[str, Count] = field(default_factory=lambda: {label: Count() for label in CHEXPERT_14})
    location: dict[str, Count] = field(default_factory=lambda: {label: Count() for label in CHEXPERT_14})
    reports: int = 0

    def add(self, coded: Coded, triplets: list[Triplet]) -> None:
        """Score one report."""
        self.reports += 1
        ours = label_report(triplets)
        for label, true in coded.labels.items():
            found = ours[label] == POSITIVE
            self.presence[label].add(true and found, found and not true, true and not found)
        said = supporting(triplet for triplet in triplets if triplet.exists == "present")
        for label, wanted in coded.locations.items():
            located = {location for triplet in said.get(label, ()) for location in locations_of(triplet.position)}
            located = {location for location in located if location.side or location.zone}
            right = sum(any(location.covers(one) for one in located) for location in wanted)
            wrong = sum(not any(location.covers(one) for location in wanted) for one in located)
            self.location[label].add(right, wrong, len(wanted) - right)


def main(arguments: list[str] | None = None) -> None:
    """Print the table, or with `--json` one object."""
    options = _parse(arguments)
    rows = read_csv(options.reports)
    missing = [column for column in COLUMNS if rows and column not in rows[0]]
    if missing:
        sys.exit(f"{options.reports} lacks the column {missing[0]}; it needs {', '.join(COLUMNS)}.")
    parsed, seconds = parse_all([as_report(row) for row in rows])
    agreement = agree(MeshCodes(_mapping(options)), rows, parsed)
    summary = summarise(agreement, len(rows) / seconds)
    print(json.dumps(summary) if options.json else table(summary))


def agree(codes: MeshCodes, rows: Iterable[dict[str, str]], parsed: Iterable[list[Triplet]]) -> Agreement:
    """Score the triplets of every report against its codes."""
    agreement = Agreement()
    for row, triplets in zip(rows, parsed, strict=True):
        coded = codes.read(row["MeSH"], f"{row['findings']}\n\n{row['impression']}")
        if coded is not None:
            agreement.add(coded, triplets)
    return agreement


def parse_all(reports: list[str]) -> tuple[list[list[Triplet]], float]:
    """The triplets of every report and the CPU seconds of sections, sentences and triplets, on one core."""
    parser = ready_parser()
    start = process_time()
    parsed = [triplets_of(parser, report) for report in tqdm(reports, unit=" reports", disable=None)]
    return parsed, process_time() - start


def ready_parser() -> TripletParser:
    """A parser that has loaded what it loads at the first abbreviation, which is no part of its speed."""
    parser = TripletParser()
    triplets_of(parser, "FINDINGS: Chronic obstructive pulmonary disease (COPD).")
    return parser


def triplets_of(parser: TripletParser, report: str) -> list[Triplet]:
    """The triplets of a report; none of one that has no text."""
    try:
        sentences = parse_report(report, options=_OPTIONS).sentences
    except ReportError:
        return []
    found = parser.parse_report(report, [(sentence.start, sentence.end) for sentence in sentences])
    return [triplet for triplets in found for triplet in triplets]


def as_report(row: dict[str, str]) -> str:
    """A row as the report it was cut from; empty sections are left out."""
    sections = (("FINDINGS", row["findings"]), ("IMPRESSION", row["impression"]))
    return "\n\n".join(f"{heading}: {body}" for heading, body in sections if body)


def summarise(agreement: Agreement, reports_per_second: float) -> dict[str, Any]:
    """The figures as plain numbers."""
    findings = [label for label in CHEXPERT_14 if label != NO_FINDING]
    presence = _total(agreement.presence[label] for label in findings)
    location = _total(agreement.location[label] for label in findings if label != SUPPORT_DEVICES)
    return {
        "reports": agreement.reports,
        "micro_f1": presence.f1,
        "micro_precision": presence.precision,
        "micro_recall": presence.recall,
        "location_f1": location.f1,
        "location_precision": location.precision,
        "location_recall": location.recall,
        "reports_per_second": reports_per_second,
        "per_finding": {label: _figures(agreement.presence[label], agreement.location[label]) for label in CHEXPERT_14},
    }


def table(summary: dict[str, Any]) -> str:
    """The figures for reading."""
    lines = [f"{'finding':28}{'coded':>6}{'F1':>7}{'prec.':>7}{'recall':>7}{'placed':>8}{'place F1':>9}"]
    for label, figures in summary["per_finding"].items():
        scores = "".join(f"{figures[name]:7.3f}" for name in ("f1", "precision", "recall"))
        lines.append(f"{label:28}{figures['coded']:6}{scores}{figures['placed']:8}{figures['location_f1']:9.3f}")
    lines.append(
        f"{summary['reports']} indexed reports; micro F1 {summary['micro_f1']:.3f} (precision "
        f"{summary['micro_precision']:.3f}, recall {summary['micro_recall']:.3f}); location F1 "
        f"{summary['location_f1']:.3f}; {summary['reports_per_second']:,.0f} reports/s on one core"
    )
    return "\n".join(lines)


def _figures(presence: Count, location: Count) -> dict[str, float]:
    return {
        "coded": presence.right + presence.missed,
        "f1": presence.f1,
        "precision": presence.precision,
        "recall": presence.recall,
        "placed": location.right + location.missed,
        "location_f1": location.f1,
    }


def _total(counts: Iterable[Count]) -> Count:
    total = Count()
    for count in counts:
        total.add(count.right, count.wrong, count.missed)
    return total


def _mapping(options: argparse.Namespace) -> Path:
    folders = [options.mapping] if options.mapping else [options.reports.parent, _shared()]
    for folder in folders:
        if (folder / MAPPING).is_file():
            return folder
    sys.exit(f"No {MAPPING} in {' or '.join(map(str, folders))}; name its folder with --mapping.")


def _shared() -> Path:
    """Where the tests find the collection too: $RADALIGN_SHARED, by default beside the checkout."""
    shared = os.environ.get("RADALIGN_SHARED") or Path(__file__).resolve().parents[2] / "shared"
    return Path(shared) / "data" / "openi_reports"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.openi_triplets", description=__doc__.split("\n")[0])
    parser.add_argument("--reports", type=Path, required=True, help="CSV with uid, MeSH, findings, impression")
    parser.add_argument(
        "--mapping",
        type=Path,
        help="folder of the mapping tables; by default that of the reports, else the shared data",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if not options.reports.is_file():
        parser.error(f"there is no file {options.reports}")
    return options


if __name__ == "__main__":
    main()
