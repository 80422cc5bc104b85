"""`python -m benchmarks.laterality SHARDS KNOWLEDGE`: what mirrored images do to MedKLIP's sense of left and right.

Trains the demo's MedKLIP without flips, with flips that swap the sides of the positions too (the default where flips
are on), and with flips of the image alone (the authors' augmentation), with several seeds. Then asks the position head
about every present finding of the test images whose report puts it on one side: does the true position get a higher
value than its mirror image? A network that has only learnt which side is more frequent is right in more than half of
them, so the area under the curve is given as well: of left against right findings of the same entity and pair of
positions, by the difference of the two values (chance 0.5 whatever is frequent), the mean over the findings.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from models.methods.medklip.network import Medklip
from models.saved import load_method
from models.text.laterality import mirror_positions
from shards.reader import ShardData, ShardReader
from training.config import preset
from training.loop import train

FLIPS = {
    "none": {"horizontal_flip": 0.0},
    "swap": {"horizontal_flip": 0.5, "flip_sides": "swap"},
    "paper": {"horizontal_flip": 0.5, "flip_sides": "paper"},
}
BATCH = 64


def main() -> None:
    """Print a line per way of flipping: mean and range over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("shards", type=Path, help="folder of the shards of the phantom")
    parser.add_argument("knowledge", type=Path, help="the knowledge table")
    parser.add_argument("--epochs", type=float, default=12.0, help="of each training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--flips", choices=FLIPS, nargs="*", default=list(FLIPS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    reader = ShardReader(options.shards)
    data = reader.read("test")
    mirror = mirror_positions(reader.manifest.positions)
    print(f"{'flips':8}{'side accuracy':>20}{'side AUROC':>20}{'findings':>10}{'CPU s':>8}")
    for flips in options.flips:
        started = process_time()
        networks = train_networks(flips, options)
        scores = np.array([sides(network, data, mirror) for network in networks])
        columns = [f"{mean:.3f} ({low:.3f}-{high:.3f})" for mean, low, high in spread(scores)]
        findings = len(one_sided(data, mirror)[0])
        seconds = process_time() - started
        print(f"{flips:8}" + "".join(f"{column:>20}" for column in columns) + f"{findings:10}{seconds:8.0f}")


def train_networks(flips: str, options: argparse.Namespace) -> Iterator[Medklip]:
    """The demo's network after training, for one seed after the other."""
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            config = preset(
                "medklip", "demo", shards=str(options.shards), knowledge=str(options.knowledge), output=folder,
                epochs=options.epochs, seed=seed, augmentation=FLIPS[flips],
            )  # fmt: skip
            train(config)
            network = load_method(Path(folder))
        assert isinstance(network, Medklip)
        yield network


def sides(network: Medklip, data: ShardData, mirror: list[int | None]) -> tuple[float, float]:
    """Accuracy and area under the curve of the true side of the one-sided findings."""
    row, entity, true, other = one_sided(data, mirror)
    logits = position_logits(network, data)[row, entity]
    first = torch.minimum(true, other)
    margin = logits.gather(1, first[:, None]) - logits.gather(1, torch.maximum(true, other)[:, None])
    table = pd.DataFrame({"entity": entity, "pair": first, "first": true == first, "margin": margin[:, 0]})
    areas, counts = [], []
    for _, group in table.groupby(["entity", "pair"]):
        if group["first"].nunique() == 2:
            areas.append(roc_auc_score(group["first"], group["margin"]))
            counts.append(len(group))
    accuracy = ((table["margin"] > 0) == table["first"]).mean()
    return float(accuracy), float(np.average(areas, weights=counts))


def one_sided(data: ShardData, mirror: list[int | None]) -> Tensor:
    """(4, findings): image, entity, true position and its mirror image, of what is present on one side only."""
    triplets = data.triplets
    present = {
        (int(row), int(entity), int(position))
        for row, entity, position, exists, _ in zip(*triplets, strict=True)
        if exists == 1
    }
    found = [
        (row, entity, position, other)
        for row, entity, position in sorted(present)
        if (other := mirror[position]) is not None and other != position and (row, entity, other) not in present
    ]
    return torch.tensor(found).T


@torch.no_grad()
def position_logits(network: Medklip, data: ShardData) -> Tensor:
    """(images, entities, positions) logits of every image of `data`."""
    images = torch.from_numpy(data.pixels)[:, None]
    return torch.cat([network.position_logits(part) for part in images.split(BATCH)])


def spread(scores: np.ndarray) -> list[tuple[float, float, float]]:
    """Mean, smallest and largest of every column of `scores` (seeds, columns)."""
    return [(float(column.mean()), float(column.min()), float(column.max())) for column in scores.T]


if __name__ == "__main__":
    main()
