"""The training loop, the same for every method. A step is a function of the configuration and its number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import nn

from imaging.augment import Augmentation, AugmentationConfig
from models.encoders.image import normalise
from models.method import Batch, Method
from shards.manifest import file_digest
from training.checkpoint import (
    TRAINED,
    UNTRAINED,
    ModelCard,
    check_same_run,
    resume,
    save_checkpoint,
    save_weights,
    write_text,
)
from training.config import TrainingConfig
from training.data import TrainingData
from training.guards import StoppedError, StopRequest, expect_finite, memory_guard
from training.metrics_log import MetricsLog
from training.origin import Origin
from training.schedule import warmup_cosine
from training.telemetry import measure

Progress = Callable[[int, int], None]


def train(config: TrainingConfig, progress: Progress | None = None, stop: StopRequest | None = None) -> dict[str, Any]:
    """Train to the end, from the last checkpoint if there is one; returns (and writes) the run's result.

    `progress(done, total)` is called after every step. A finished run is returned as it is. Raises StoppedError, with
    its checkpoint written, when `stop` was asked for.
    """
    output = Path(config.output)
    origin = Origin.of(config)
    check_same_run(output, origin)
    config.save(output / "config.json")
    result_path = output / "result.json"
    if result_path.exists():
        return json.loads(result_path.read_text(encoding="utf-8"))
    with memory_guard(config):
        run = Run(config, origin)
        resumed_from = run.step
        run.finish(progress, stop or StopRequest())
    digest = save_weights(run.method, output / TRAINED)
    result = {
        "checkpoint_digest": digest,
        "untrained_digest": file_digest(output / UNTRAINED),
        "steps": run.steps,
        "resumed_from": resumed_from,
        "pairs": len(run.data),
        "seconds": round(run.seconds(), 2),
        "precision": run.precision,
        **run.method.facts,
    }
    write_text(result_path, json.dumps(result, indent=1))
    return result


class Run:
    """One run: data, network, optimizer, and the step they have reached."""

    def __init__(self, config: TrainingConfig, origin: Origin) -> None:
        self.config = config
        self.origin = origin
        self.started = perf_counter()
        self.output = Path(config.output)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if config.threads:
            torch.set_num_threads(config.threads)
        self.precision = fast_precision(self.device) if config.precision == "auto" else config.precision
        self.dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        self.data = TrainingData.open(config)
        self.per_epoch = len(self.data) // config.batch_size
        self.steps = config.max_steps or max(1, round(config.epochs * self.per_epoch))
        size = self.data.data.pixels.shape[-1]
        self.augmentation = Augmentation(AugmentationConfig(**config.augmentation), size).to(self.device)
        self.method = self.build(size)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.method, config.weight_decay), lr=config.learning_rate, fused=True
        )
        self.step, state = resume(self.output, origin, self.method, self.optimizer)
        self.seconds_before = state.get("seconds", 0.0)

    def build(self, size: int) -> Method:
        """The network with the run's initial weights, which are kept as the floor to compare with."""
        knowledge = pq.read_table(self.config.knowledge).select(["kind", "name", "description"]).to_pylist()
        card = ModelCard(self.config.method, self.config.method_config, knowledge, size)
        card.save(self.output)
        torch.manual_seed(self.config.seed)
        method = card.build()
        save_weights(method, self.output / UNTRAINED)
        return method.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self.seconds_before + perf_counter() - self.started

    def save(self) -> None:
        """Write a checkpoint."""
        save_checkpoint(self.output, self.origin, self.step, self.method, self.optimizer, {"seconds": self.seconds()})

    def finish(self, progress: Progress | None, stop: StopRequest) -> None:
        """Take all remaining steps."""
        log = MetricsLog(self.output / "metrics.jsonl", self.step, self.config.log_every, self.method.telemetry)
        self.method.train()
        while self.step < self.steps:
            rate = self.set_learning_rate()
            with log.waiting():
                batch = self.batch()
            if log.hardware is None:
                log.hardware = measure(self.method, batch, self.device, self.dtype)
            terms, norm = self.take_step(batch)
            self.step += 1
            facts = {"train/loss": float(sum(terms.values())), "learning_rate": rate, "gradient_norm": norm}
            log.add(self.step, self.step / self.per_epoch, self.config.batch_size, terms, facts)
            wish = stop.agreed(self.device)
            if wish or self.step % self.config.checkpoint_every == 0:
                self.save()
            if progress:
                progress(self.step, self.steps)
            if wish and self.step < self.steps:
                log.flush(self.step, self.step / self.per_epoch)
                raise StoppedError(self.step, wish)
        log.flush(self.step, self.step / self.per_epoch)
        self.method.eval()

    def set_learning_rate(self) -> float:
        """Set and return the learning rate of this step."""
        config = self.config
        warmup = min(round(config.warmup_epochs * self.per_epoch), self.steps // 2)
        rate = warmup_cosine(self.step, self.steps, warmup, config.learning_rate, config.final_learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def take_step(self, batch: Batch) -> tuple[dict[str, float], float]:
        """One update; returns the loss terms and the gradient's norm."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            terms = self.method.losses(batch)
        loss = torch.stack(list(terms.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        limit = self.config.clip_norm or float("inf")
        norm = nn.utils.clip_grad_norm_(self.method.parameters(), limit)
        *values, norm_value = torch.stack([*terms.values(), norm]).tolist()  # the step's one wait for the device
        numbers = dict(zip(terms, values, strict=True))
        expect_finite(self.output, self.step + 1, numbers, norm_value, self.image_ids)
        self.optimizer.step()
        return numbers, norm_value

    def image_ids(self) -> list[str]:
        """The images of this step's batch."""
        rows = self.data.batch_rows(self.step, self.config.batch_size, self.config.seed)
        return list(self.data.data.image_ids[rows])

    def batch(self) -> Batch:
        """This step's pairs, augmented on the device."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # all chance in a step follows from its number
        rows = self.data.batch_rows(self.step, self.config.batch_size, self.config.seed)
        images = self.augmentation(self.data.images(rows).to(self.device))
        images = normalise(images).to(memory_format=torch.channels_last)
        return Batch(images, self.data.targets(rows).to(self.device))


def fast_precision(device: torch.device) -> str:
    """`bf16` on GPUs that have it and on CPUs with bf16 matrix instructions, else `fp32`."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "fp32"


def parameter_groups(method: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices only: biases and norms are left alone."""
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim > 1]
    others = [parameter for parameter in trained if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
