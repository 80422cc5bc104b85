"""`python -m benchmarks.exact_resume`: whether a resumed run of each method ends in the bits of one that is not.

Every method trains a tiny network on noise, on the GPU where there is one, once to its end and once from the checkpoint
in its middle. Printed is the largest difference of a weight, which has to be 0. Kernels of a GPU that add in any order
show here.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from models.run_files import TRAINED
from tests.models.tiny import TRAINED as METHODS
from tests.models.tiny import settings_for
from tests.training.conftest import shard_rows, tiny_config, write_shards
from training.config import TrainingConfig
from training.loop import train

ROWS = 48


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each method; returns 1 if any of them differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="*", default=METHODS, help="names of methods")
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args(arguments)
    print("| method | device | resumed at | largest difference |\n| --- | --- | --- | --- |")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        shards = write_shards(Path(folder) / "shards", shard_rows(ROWS))
        for method in [name for name in options.methods if name in METHODS]:
            config = replace(
                tiny_config(shards, Path(folder) / method),
                method=method,
                method_config=settings_for(method, "findings"),
                max_steps=options.steps,
                checkpoint_every=max(1, options.steps // 2),
            )
            at, difference = compare(config)
            worst = max(worst, difference)
            device = "cuda" if torch.cuda.is_available() else "cpu"
            print(f"| {method} | {device} | {at} | {difference:g} |", flush=True)
    return int(worst > 0)


def compare(config: TrainingConfig) -> tuple[int, float]:
    """Train to the end, and again from the checkpoint in the middle: where that was, and how far the weights differ."""
    again = replace(config, output=f"{config.output}-again")
    train(config)
    middle = f"step-{config.checkpoint_every:08d}"
    source, target = (Path(run.output) / "checkpoints" / middle for run in (config, again))
    shutil.copytree(source, target)
    resumed = train(again)["resumed_from"]
    first, second = (load_file(Path(run.output) / TRAINED) for run in (config, again))
    return resumed, max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


if __name__ == "__main__":
    raise SystemExit(main())
