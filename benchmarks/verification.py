"""`python -m benchmarks.verification`: what comparing shards with their digests costs, beside what is done with them.

In one run, in CPU seconds on one thread, the fastest of a few passes: comparing shards of noise with their digests, per
byte; a training step and the prediction of features, per image, with the network of a method's demo preset (the
cheapest there is) and of its paper preset with random weights. An epoch over 100,000 images and an evaluation of as
many grow alike, so the share of one image is that of all. Bars: 2 % of an epoch, 5 % of an evaluation.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

import torch

from benchmarks.loader import write_shards
from benchmarks.methods import Paper
from evaluation.inference import predict_batches
from models.method import Batch
from models.registry import build_method
from report_parsing.knowledge.base import KnowledgeBase
from shards.manifest import Manifest
from store import digests
from training.config import preset

SHARDS, ROWS, PASSES = 2, 1024, 3
BARS = {"epoch": 0.02, "evaluation": 0.05}


def fastest(action: Callable[[], object], passes: int = PASSES) -> float:
    """CPU seconds of the fastest of a few passes."""
    found = []
    for _ in range(passes):
        begun = process_time()
        action()
        found.append(process_time() - begun)
    return min(found)


def seconds_per_byte(folder: Path) -> float:
    """CPU seconds that comparing one byte of shards with its digest takes."""
    write_shards(folder, SHARDS, ROWS)
    size = sum(path.stat().st_size for path in folder.glob("*.parquet"))

    def verify() -> None:
        digests._known.clear()  # as another process
        Manifest.load(folder, verify=True)

    return fastest(verify) / size


def measure(method: str, name: str, batch_size: int, per_byte: float) -> dict[str, float]:
    """Shares that verifying takes of an epoch and of an evaluation, with a preset of a method."""
    paper = Paper(method, torch.device("cpu"))
    if name == "demo":
        config = preset(method, "demo")
        knowledge = KnowledgeBase.default().table().select(["kind", "name", "description"]).to_pylist()
        paper.size = config.input_size or 96
        paper.method = build_method(method, config.method_config, knowledge, paper.size).train()
        paper.optimizer = torch.optim.AdamW(paper.method.parameters(), lr=1e-6)
    batch: Batch = paper.batch(batch_size)
    step = fastest(lambda: paper.step(batch)) / batch_size
    pixels = batch.images[:, 0].numpy()
    predict = fastest(lambda: predict_batches(paper.method, pixels, lambda part: [paper.method.image_features(part)]))
    verify = per_byte * paper.size**2
    return {"epoch": verify / step, "evaluation": verify / (predict / batch_size)}


def main() -> int:
    """Print the shares; the exit status is 1 if one is above its bar."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verification", description=__doc__.split("\n")[0])
    parser.add_argument("--method", default="medklip")
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)  # others would wait for each other, and waiting counts as CPU time
    broken = False
    with tempfile.TemporaryDirectory() as folder:
        per_byte = seconds_per_byte(Path(folder))
    sys.stdout.write(f"{1e-9 / per_byte:.2f} GB per CPU second\n")
    for name in ("demo", "paper"):
        shares = measure(options.method, name, options.batch, per_byte)
        broken |= any(share > BARS[of] for of, share in shares.items())
        sys.stdout.write(f"{name}: {', '.join(f'{share:.3%} of an {of}' for of, share in shares.items())}\n")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
