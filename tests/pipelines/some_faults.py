"""`python -m tests.pipelines.some_faults FOLDER`: verdicts on some faults, as JSON.

The bench forks for each run, which only a process without other threads can do.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.faults import ARCHIVE, Bench, try_fault
from store import batches, seals

FAULTS = (("shard", "one bit, old time"), (ARCHIVE, "unmounted"))
PLANTED = ("images batch", "one bit, old time")  # in a product that verifies nothing


def main() -> None:
    """Try the faults, then the last one in a product that verifies nothing."""
    bench = Bench(Path(sys.argv[1]), lambda _: None, ("ingest",), counterparts=False)
    verdicts = [try_fault(bench, *fault) for fault in FAULTS]
    for module in (seals, batches):
        module.is_intact = lambda path: path.exists()
    verdicts.append(try_fault(bench, *PLANTED))
    sys.stdout.write(json.dumps([(verdict.state, verdict.text) for verdict in verdicts]))


if __name__ == "__main__":
    main()
