"""`python -m benchmarks.radgraph_files`: from a RadGraph file to matrices, against what the reference takes.

The reference takes 8 ms of CPU per report to parse 18 rows in about six sentences; that leaves out reading the file,
its lemmatiser, and 1.6 ms for its other two steps. Ours is CPU time from the JSON file to the matrices, the best of
several runs, on reports of that size or on those of a file of your own; and again for eight times as many.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

from report_parsing.radgraph.agxnet import Agxnet, AgxnetOptions
from report_parsing.radgraph.files import GraphFileError, read_graphs, write_graphs
from report_parsing.radgraph.graph import Entity, Graph, Relation
from report_parsing.radgraph.matrices import matrices

REFERENCE_MS = 8.0  # per report, golden/timings.json of the authors' code
MORE = 8  # times as many reports for the growth of the time
RUNS = 10
# a sentence, and its entities as "token LABEL [relation:entity]"; entities of a sentence count from 1
SENTENCES: tuple[tuple[str, ...], ...] = (
    ("Comparison is made to the prior study .",),
    ("No pneumothorax .", "1 OBS-DA"),
    ("The lungs are clear .", "1 ANAT-DP", "3 OBS-DP located_at:1"),
    ("The trachea is midline .", "1 ANAT-DP", "3 OBS-DP located_at:1"),
    ("Sternotomy wires are intact .", "0 OBS-DP modify:2", "1 OBS-DP", "3 OBS-DP modify:2"),
    ("No left pleural effusion .", "1 ANAT-DP modify:2", "2 ANAT-DP", "3 OBS-DA located_at:2"),
    (
        "Heart size and mediastinal contours are normal .",
        *("0 ANAT-DP", "1 ANAT-DP modify:1", "3 ANAT-DP", "4 ANAT-DP modify:3", "6 OBS-DP located_at:1"),
    ),
    (
        "Patchy right lower lobe opacity is concerning for pneumonia .",
        *("0 OBS-DP modify:5", "1 ANAT-DP modify:4", "2 ANAT-DP modify:4", "3 ANAT-DP"),
        *("4 OBS-DP located_at:4", "8 OBS-U"),
    ),
)


def synthetic_graph(choose: random.Random) -> Graph:
    """A report of 5 to 7 sentences, of about 17 entities."""
    words: list[str] = []
    entities: dict[str, Entity] = {}
    for text, *specs in choose.choices(SENTENCES, k=choose.randint(5, 7)):
        tokens, before = text.split(), len(entities)
        for spec in specs:
            token, label, *relations = spec.split()
            pairs = [relation.split(":") for relation in relations]
            found = tuple(Relation(kind, str(before + int(target))) for kind, target in pairs)
            at = len(words) + int(token)
            entities[str(len(entities) + 1)] = Entity(tokens[int(token)], label, at, at, found)
        words += tokens
    return Graph(" ".join(words), entities, "synthetic", "inference")


def reports(number: int, graphs: Iterator[Graph]) -> Iterator[tuple[str, Graph]]:
    """So many reports under keys of their own."""
    return ((f"p10/p{10_000_000 + i}/s{50_000_000 + i}.txt", graph) for i, graph in enumerate(islice(graphs, number)))


def cpu_seconds(works: list[Callable[[], object]]) -> list[float]:
    """CPU time of the best run of each; they take turns, so that a busy machine slows all alike."""
    best = [float("inf")] * len(works)
    for _ in range(RUNS):
        for index, work in enumerate(works):
            start = process_time()
            work()
            best[index] = min(best[index], process_time() - start)
    return best


def measure(graphs: list[Graph], number: int) -> dict[str, float]:
    """All figures of the table."""
    with TemporaryDirectory() as folder:
        small, large = Path(folder, "small.json"), Path(folder, "large.json")
        write_graphs(small, reports(number, cycle(graphs)))
        write_graphs(large, reports(MORE * number, cycle(graphs)))
        mended, following = Agxnet(), Agxnet(AgxnetOptions(reference=True))
        reading, ours, reference, repeated, more = cpu_seconds(
            [
                lambda: sum(1 for _ in read_graphs(small, [])),
                lambda: matrices(read_graphs(small, []), mended),
                lambda: matrices(read_graphs(small, []), following),
                # as long as the last, so that a busy machine disturbs both alike
                lambda: [matrices(read_graphs(small, []), mended) for _ in range(MORE)],
                lambda: matrices(read_graphs(large, []), mended),
            ]
        )
        entities = sum(len(graph.entities) for _, graph in read_graphs(small, []))
    return {
        "reports": number,
        "entities_per_report": entities / number,
        "reading_ms_per_report": reading / number * 1000,
        "ms_per_report": ours / number * 1000,
        "times_faster": REFERENCE_MS / (ours / number * 1000),
        "reference_option_ms_per_report": reference / number * 1000,
        "reference_option_times_faster": REFERENCE_MS / (reference / number * 1000),
        f"time_of_{MORE}_times_the_reports": MORE * more / repeated,
    }


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.radgraph_files", description=__doc__)
    parser.add_argument("--reports", type=int, default=1000, help="number of reports; a file's are repeated to it")
    parser.add_argument("--file", type=Path, default=None, help="RadGraph file to take reports from")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.reports < 1:
        parser.error("--reports must be at least 1")
    if options.file is None:
        choose = random.Random(0)
        graphs = [synthetic_graph(choose) for _ in range(options.reports)]
    else:
        try:
            graphs = [graph for _, graph in read_graphs(options.file, [])]
        except GraphFileError as error:
            parser.error(str(error))
        if not graphs:
            parser.error(f"{options.file} has no report that can be used; choose another file")
    figures = measure(graphs, options.reports)
    lines = [json.dumps(figures)] if options.json else [f"{name:34}{value:10.3f}" for name, value in figures.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
