"""`python -m benchmarks.text_growth`: how much longer eight times the text takes, stage by stage, on hostile texts.

Every text is one piece over and over, without the full stops and headings that cut real reports into short sentences.
About 8 is linear, 64 is quadratic. The smaller text is long enough that start-up does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import process_time

from benchmarks.openi_triplets import ready_parser
from report_parsing.errors import ReportError
from report_parsing.lexicon.abbreviations import AbbreviationFinder
from report_parsing.reports import parse_report
from report_parsing.statements.relations import GraphParser

GROWTH = 8
CHARACTERS = 16_000
PIECES = (
    "FINDINGS: ",
    "IMPRESSION\n",
    "1. ",
    ".",
    "\n\n",
    "Dr. A.B. 2.5 ",
    "___ XXXX ",
    "a:",
    "-\n",
    "no,left-effusion/",
    "small left effusion and opacity at the right base ",
    "chronic obstructive pulmonary disease (COPD) ",
    "((AB ",
)


def main() -> None:
    """Print a line per piece: seconds of the smaller text and growth of every stage."""
    parser, graphs, finder = ready_parser(), GraphParser(), AbbreviationFinder()
    stages: dict[str, Callable[[str], object]] = {
        "report": sections_and_sentences,
        "triplets": parser.parse_sentence,
        "graph": lambda text: graphs.parse_report(text, [(0, len(text))]),
        "abbreviations": finder.find,
    }
    print(f"{'piece':52}" + "".join(f"{name:>22}" for name in stages))
    for piece in PIECES:
        cells = [growth(stage, piece) for stage in stages.values()]
        print(f"{piece!r:52}" + "".join(f"{seconds:12.3f} s x {factor:5.1f}" for seconds, factor in cells))


def growth(stage: Callable[[str], object], piece: str) -> tuple[float, float]:
    """CPU seconds of the smaller text, and how many times longer the larger one takes."""
    small, large = (piece * (length // len(piece)) for length in (CHARACTERS, GROWTH * CHARACTERS))
    stage(small)
    seconds = min(_seconds(stage, small) for _ in range(3))
    return seconds, min(_seconds(stage, large) for _ in range(2)) / max(seconds, 1e-4)


def sections_and_sentences(text: str) -> None:
    """Take a text apart; one without words is refused as quickly."""
    with suppress(ReportError):
        parse_report(text)


def _seconds(stage: Callable[[str], object], text: str) -> float:
    start = process_time()
    stage(text)
    return process_time() - start


if __name__ == "__main__":
    main()
