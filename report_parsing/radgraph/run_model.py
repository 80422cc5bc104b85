"""Runs a trained RadGraph model; started by `model.py` in an environment that has the package `radgraph`.

Arguments: the folder of the weights, a file with one JSON string (a report) per line, and the file to write, with the
package's annotation of each report per line, `null` where it failed. Imports nothing of this project.
"""

import json
import sys
from pathlib import Path
from pickle import UnpicklingError

INSTALL = "give the python of an environment made by `pip install radgraph 'transformers<5' 'torch>=2.6'`"


def main(weights: Path, reports: Path, annotations: Path) -> None:
    """Annotate report by report; a failure before the first one ends the process with one sentence."""
    try:
        from radgraph import RadGraph
    except ImportError as error:
        sys.exit(f"{sys.executable} cannot import {error.name}; {INSTALL}")
    import torch  # radgraph needs it, so it is there

    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        sys.exit(f"{sys.executable} has a torch that may run code out of a weights file; {INSTALL}")
    try:
        model = RadGraph(model_type=weights.name, model_cache_dir=str(weights.parent))
    except UnpicklingError:
        sys.exit(f"{weights / 'weights.th'} holds more than tensors and is refused, since it could run code")
    except Exception as error:  # whatever the package, torch or transformers raise
        reason = str(error).partition("\n")[0]
        sys.exit(f"{weights} does not load ({type(error).__name__}: {reason}); if the package is at fault, {INSTALL}")
    with reports.open(encoding="utf-8") as lines, annotations.open("w", encoding="utf-8") as file:
        for line in lines:
            try:
                annotation = model([json.loads(line)]).get("0")
            except Exception:  # one report must not end the run; null says so
                annotation = None
            file.write(json.dumps(annotation) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
