"""`python -m benchmarks.report_parsing --reports CSV`: reports a second, growth, and the ratio to medspaCy.

Sections, sentences and triplets of real reports (columns findings and impression) on one core, in CPU time, the best
of a few passes, each with a new parser so that no sentence is remembered from the pass before. `--medspacy` names the
Python of an environment that has medspaCy (`pip install medspacy "numpy<2"`); its target matcher gets our forms.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from time import process_time

from benchmarks.openi_codes import read_csv
from benchmarks.openi_triplets import as_report, ready_parser, triplets_of
from report_parsing.lexicon.words import observation_forms

PASSES = 3
GROWTH = 8
BASELINE_REPORTS = 300


def main(arguments: list[str] | None = None) -> None:
    """Print the figures, one a line."""
    options = _parse(arguments)
    reports = [report for report in map(as_report, read_csv(options.reports)) if report]
    seconds = best(reports)
    print(f"{len(reports)} reports, {len(reports) / seconds:,.0f} reports/s on one core")
    print(f"{GROWTH} times the reports take {seconds / best(reports[::GROWTH]):.1f} times as long")
    text = "\n".join(reports[: len(reports) // GROWTH])
    print(f"a report {GROWTH} times as long takes {best([GROWTH * text]) / best([text]):.1f} times as long")
    if options.medspacy:
        some = reports[:BASELINE_REPORTS]
        theirs = medspacy_seconds(options.medspacy, some)
        print(f"medspaCy: {len(some) / theirs:,.0f} reports/s; ours is {theirs / best(some):.1f} times as fast")


def best(reports: list[str]) -> float:
    """CPU seconds of the fastest pass."""
    return min(_pass(reports) for _ in range(PASSES))


def medspacy_seconds(python: Path, reports: list[str]) -> float:
    """CPU seconds of medspaCy's target matcher and context, run by its own interpreter."""
    forms = {form: entities[0] for entities, form in observation_forms()}
    done = subprocess.run(
        [python, Path(__file__).with_name("medspacy_baseline.py")],
        input=json.dumps({"forms": forms, "reports": reports}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{python} could not run medspaCy: {done.stderr.strip().splitlines()[-1]}")
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def _pass(reports: list[str]) -> float:
    parser = ready_parser()
    start = process_time()
    for report in reports:
        triplets_of(parser, report)
    return process_time() - start


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report_parsing", description=__doc__.split("\n")[0])
    parser.add_argument("--reports", type=Path, required=True, help="CSV with the columns findings and impression")
    parser.add_argument("--medspacy", type=Path, help="Python interpreter of an environment with medspaCy")
    options = parser.parse_args(arguments)
    if not options.reports.is_file():
        parser.error(f"there is no file {options.reports}")
    return options


if __name__ == "__main__":
    main()
