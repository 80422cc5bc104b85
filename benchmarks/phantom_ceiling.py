"""`python -m benchmarks.phantom_ceiling`: what the backbone reaches when it is told the truth.

Trains the image encoder of the latest finished MedKLIP run on the phantom, from fresh weights, with a linear head on
its pooled features and the simulator's own labels, for the time that run took, with its batches and augmentation. The
numbers go into the results table as method `supervised`: the ceiling against which zero-shot scores from parsed reports
are read.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from evaluation.metrics.values import ResultValue
from evaluation.results.store import ResultKey, read_results, write_results
from evaluation.tasks import zero_shot_classification as classification
from imaging.augment import Augmentation, AugmentationConfig
from ingestion.workspace import Workspace
from models.saved import ModelCard
from shards.reader import ShardData, ShardReader
from tracking.runs import TrainedRun, trained_run
from training.config import TrainingConfig
from training.loop import fast_precision
from training.optimizer import parameter_groups
from training.schedule import learning_rate

SETTING = "100 %"  # of the true labels
WARMUP_SHARE = 0.05
SCHEDULE_TICKS = 10_000  # the schedule runs over elapsed time, in these many parts


class Classifier(nn.Module):
    """The run's image encoder with fresh weights, and one logit per finding on its pooled features."""

    def __init__(self, card: ModelCard, findings: int) -> None:
        super().__init__()
        self.method = card.build()
        self.head = nn.LazyLinear(findings)
        self.forward(torch.zeros(1, 1, card.size, card.size))  # tells the head how wide the features are

    def forward(self, images: Tensor) -> Tensor:
        """Grey levels (batch, 1, size, size) -> logits (batch, findings)."""
        return self.head(self.method.image_features(images.contiguous(memory_format=torch.channels_last)))


@dataclass
class Ceiling:
    """One supervised training on one split of the shards."""

    config: TrainingConfig
    card: ModelCard
    seconds: float
    seed: int

    def train(self, data: ShardData, labels: np.ndarray) -> Classifier:
        """Train for `seconds`; the learning rate follows the same curve as pretraining, over time."""
        config = replace(self.config, warmup_epochs=WARMUP_SHARE)  # an epoch is the whole time
        torch.manual_seed(self.seed)
        if config.threads:
            torch.set_num_threads(config.threads)
        model = Classifier(self.card, labels.shape[1])
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        augmentation = Augmentation(AugmentationConfig(**config.augmentation), data.pixels.shape[-1])
        optimizer = torch.optim.AdamW(parameter_groups(model, config.weight_decay), lr=config.learning_rate, fused=True)
        generator = np.random.default_rng(self.seed)
        start, bar = perf_counter(), tqdm(total=round(self.seconds), unit="s", disable=None)
        while (elapsed := perf_counter() - start) < self.seconds:
            tick = int(elapsed / self.seconds * SCHEDULE_TICKS)
            rate = learning_rate(config, tick, SCHEDULE_TICKS, SCHEDULE_TICKS)
            for group in optimizer.param_groups:
                group["lr"] = rate
            rows = generator.choice(len(data), config.batch_size, replace=False)
            images = augmentation(torch.from_numpy(data.pixels[rows])[:, None])
            loss = F.binary_cross_entropy_with_logits(self.logits(model, images), torch.from_numpy(labels[rows]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm or float("inf"))
            optimizer.step()
            bar.update(round(elapsed) - bar.n)
        bar.close()
        return model.eval()

    def logits(self, model: Classifier, images: Tensor) -> Tensor:
        """Logits in the precision that pretraining uses here."""
        precision = fast_precision(images.device) if self.config.precision == "auto" else self.config.precision
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
            return model(images).float()

    def scores(self, model: Classifier, data: ShardData) -> np.ndarray:
        """(images, findings) probabilities."""
        batches = np.array_split(data.pixels, max(1, len(data) // 64))
        with torch.inference_mode():
            logits = [self.logits(model, torch.from_numpy(batch)[:, None]) for batch in batches]
        return torch.cat(logits).sigmoid().numpy()


def true_labels(data: ShardData) -> tuple[list[str], np.ndarray]:
    """Names of the findings and their labels (images, findings)."""
    names = sorted(data.labels)
    return names, np.stack([data.labels[name] for name in names], axis=1)


def measure(workspace: Workspace, run: TrainedRun, seed: int, seconds: float | None) -> list[ResultValue]:
    """Train the ceiling of `run`, score it on the test split and write the rows."""
    output = workspace.home_path() / run.output
    config = TrainingConfig.load(output / "config.json")
    reader = ShardReader(Path(config.shards))
    train, validate, test = (reader.read(split) for split in ("train", "validate", "test"))
    names, labels = true_labels(train)
    ceiling = Ceiling(config, ModelCard.load(output), seconds or training_seconds(output), seed)
    model = ceiling.train(train, labels)
    validate_scores, test_scores = ceiling.scores(model, validate), ceiling.scores(model, test)
    thresholds = classification.best_thresholds(validate_scores, true_labels(validate)[1])
    values = classification.score(test_scores, true_labels(test)[1], names, test.subject_ids, thresholds)
    key = ResultKey("supervised", "", "", workspace.cohort_name(), run.data_version, seed)
    write_results(workspace.home_path(), "zero_shot_classification", key, values, setting=SETTING)
    return values


def training_seconds(output: Path) -> float:
    """How long the run trained."""
    return float(json.loads((output / "result.json").read_text(encoding="utf-8"))["seconds"])


def main() -> int:
    """Train and compare; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.phantom_ceiling", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="seed of the classifier; the run's own by default")
    parser.add_argument("--seconds", type=float, default=None, help="training time; the run's own by default")
    options = parser.parse_args()
    workspace = Workspace()
    if workspace.cohort_name() != "phantom":
        parser.error("the ceiling needs the simulator's truth: unset RADALIGN_COHORT or set it to phantom")
    run = trained_run(workspace, "medklip")
    values = measure(workspace, run, run.seed if options.seed is None else options.seed, options.seconds)
    supervised = next(value for value in values if (value.metric, value.class_name) == ("auroc", "macro"))
    rows = read_results(
        workspace.home_path(), {"checkpoint": run.checkpoint_digest, "metric": "auroc", "class": "macro"}
    )
    zero_shot = pc.max(rows["value"]).as_py()
    sys.stdout.write(
        f"supervised {supervised.value:.4f} [{supervised.low:.4f}, {supervised.high:.4f}]\n"
        f"medklip    {zero_shot:.4f}, which is {zero_shot / supervised.value:.4f} of it\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
