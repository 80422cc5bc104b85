"""`python -m benchmarks.report_sections --reports CSV`: speed of sections and sentences, and growth on hostile text.

Speed is in CPU time on one core, the fastest of a few passes over real reports (columns findings and impression).
Growth is how many times as long a text takes that is `GROWTH` times as long: linear is `GROWTH`. The texts repeat what
a regular expression may stumble over: full stops, numbers, blanks, capitals, headings that never end.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from time import process_time

from tqdm import tqdm

from benchmarks.openi_codes import read_csv
from benchmarks.openi_triplets import as_report
from report_parsing.errors import ReportError
from report_parsing.reports import ReportOptions, parse_report
from report_parsing.sections.parser import split_sections
from report_parsing.sections.sentences import split_sentences

PASSES = 3
GROWTH = 8
CHARACTERS = 30_000  # of the shorter hostile text
WORDS = (
    *(".", "..", ". ", "1", "1.", "1. ", "1) ", "(", "((1) ", "a 1) ", "a 1. ", "no. 3 ", "2.5 ", "...", "... a"),
    *("\n", "\n\n", " ", "\t", "\r\n", "\u2028", " \n", "a\n", "A\n", "A.\n", "- ", "- a", "-", "• a ", "*", "#", "="),
    *("A", "AAAA ", "a AAAA ", "the AAAA ", "AB:", "a: ", ":", ": ", "A: \n", "AAAA BBBB ", "AAAA\nBBBB: "),
    *("FINDINGS", "FINDINGS ", "findings\n", "FINDINGS A. ", "FINDINGS ((", "a FINDINGS:", "IMPRESSION - ", "CHEST, "),
    *("REASON FOR ", "Dictated by\n", "FINAL REPORT\n", "LUNGS: a\n", "ADDENDUM\n", "IV. ", "<", "<a", "</findings>"),
    *("_", "___ ", "X", "XXXX ", "x-XXXX. ", "[**", "[**a", "\ufffd", "-/", "dr. ", "dr. A", "a.m. ", "a.b", "A.B.C."),
    *("\u00ad", "\u00ada", "ﬁ", "＊", "<br>", "<b>", "<b>a", "&nbsp;", "&amp", "\\n", "\\.br\\", "**a ", "*a", "_a "),
    *("XR CHEST 1 :", "A) ", "1.1 ", "FINDINGS.", "FINDINGS....", "findings ->", '"findings": ', "FINDINGS\n---\n"),
    *("effusion.the", "figs.aa", "Aa.Aa", "AAAA.AA", '.")', "a;b", "x, ", "é", "a" * 50 + " ", " " * 60 + ":"),
)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Print the figures, or with `--json` one object."""
    options = _parse(arguments)
    reports = [report for report in map(as_report, read_csv(options.reports)) if report]
    growth = {word: growth_on(word) for word in tqdm(WORDS, unit=" texts", disable=None)}
    slowest = max(growth, key=lambda word: growth[word])
    summary = {
        "reports": len(reports),
        "characters": sum(map(len, reports)) / len(reports),
        "microseconds_sections": 1e6 * seconds(split_sections, reports) / len(reports),
        "microseconds_sections_and_sentences": 1e6 * seconds(_sections_and_sentences, reports) / len(reports),
        "microseconds_whole_row": 1e6 * seconds(_row, reports) / len(reports),
        "hostile_texts": len(growth),
        "worst_growth": growth[slowest],
        "worst_text": slowest,
    }
    print(json.dumps(summary) if options.json else "\n".join(f"{name}: {value}" for name, value in summary.items()))


def growth_on(word: str) -> float:
    """How many times as long a text of this word takes when it is `GROWTH` times as long."""
    short, long = (word * (length // len(word) + 1) for length in (CHARACTERS, GROWTH * CHARACTERS))
    return seconds(_row, [long]) / seconds(_row, [short])


def seconds(parse: Callable[[str], object], reports: Iterable[str]) -> float:
    """CPU seconds of the fastest pass over the reports."""
    return min(_pass(parse, reports) for _ in range(PASSES))


def _pass(parse: Callable[[str], object], reports: Iterable[str]) -> float:
    start = process_time()
    for report in reports:
        parse(report)
    return process_time() - start


def _sections_and_sentences(report: str) -> None:
    for spans in split_sections(report).values():
        for start, end in spans:
            split_sentences(report, start, end)


def _row(report: str) -> None:
    try:
        parse_report(report, options=ReportOptions(required=(), minimum_tokens=1))
    except ReportError:
        return  # a text without words takes time too


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report_sections", description=__doc__)
    parser.add_argument("--reports", type=Path, required=True, help="CSV with the columns findings and impression")
    parser.add_argument("--json", action="store_true", help="print one object")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
