"""`python -m benchmarks.step [--batch N] [--json]`: a paper-size step of the training loop against a plain one.

The same two networks, ResNet-50 + BERT-base and ViT-B/16 + BERT-base contrasted as in ConVIRT, with random weights, on
images of 224 x 224 pixels and reports of 112 tokens. The plain loop is float32 and eager, in torch's default layout and
with AdamW as it comes; the loop's own step autocasts to bf16, keeps channels last and updates in one kernel. On a CPU
both are measured in CPU time of one thread, by turns, the fastest of a few steps; on a GPU in wall time. There, beside
it: utilisation, the model's operations over those of a large product of bf16 matrices in the same run, and what
`compile`, `micro_batches` and `gradient_checkpointing` cost and save.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor, nn

from models.method import Batch, Method, Tokens
from models.registry import build_method
from training.config import TrainingConfig
from training.monitoring.telemetry import flops_per_pair, matrix_product_peak
from training.objective import Objective, checkpoint_encoders
from training.optimizer import build_optimizer, clip_gradients

SIZE, LENGTH, VOCABULARY = 224, 112, 30522
ENCODERS = {"ResNet-50 + BERT-base": "resnet50", "ViT-B/16 + BERT-base": "vit_base_patch16_224"}
BAR = 1.5  # how many times as fast as the plain loop
UTILISATION = 0.45  # on a GPU, of ViT-B/16 + BERT-base
CONFIG = TrainingConfig("convirt", precision="bf16", clip_norm=1.0)
VARIANTS: dict[str, dict[str, Any]] = {  # on a GPU
    "as it is": {},
    "compile": {"compile": True},
    "8 micro-batches": {"micro_batches": 8},
    "checkpointing": {"gradient_checkpointing": True},
}
Step = Callable[[], Tensor]


def network(encoder: str, device: torch.device) -> Method:
    """The two encoders at their paper's size, all of their layers trained."""
    torch.manual_seed(0)
    options = {"image_encoder": encoder, "image_weights": "", "text_encoder": "bert/12x768", "frozen_layers": 0}
    return build_method("convirt", options, [], SIZE).to(device).train()


def noise(pairs: int, device: torch.device) -> Batch:
    """Images and reports of one length."""
    images = torch.randint(0, 256, (pairs, 1, SIZE, SIZE), dtype=torch.uint8)
    ids = torch.randint(1, VOCABULARY, (pairs, LENGTH))
    return Batch(images, Tokens(ids, torch.ones_like(ids, dtype=torch.bool))).to(device)


def plain_step(method: Method, batch: Batch) -> Step:
    """Float32, eager."""
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-5)

    def step() -> Tensor:
        loss = torch.stack(list(method.losses(batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(method.parameters(), CONFIG.clip_norm)
        optimizer.step()
        return loss

    return step


def our_step(method: Method, batch: Batch, config: TrainingConfig) -> Step:
    """As `training.loop` takes it."""
    method = method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.gradient_checkpointing:
        checkpoint_encoders(method)
    objective, optimizer = Objective(method, config.micro_batches, config.compile), build_optimizer(method, config)
    batch = replace(batch, images=batch.images.contiguous(memory_format=torch.channels_last))

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(batch.images.device.type, torch.bfloat16):
            loss = torch.stack(list(objective(batch).values())).sum()
        loss.backward()
        clip_gradients(method, config.clip_norm)
        optimizer.step()
        return loss

    return step


def seconds(step: Step, device: torch.device) -> float:
    """Of one step: wall time of a GPU, CPU time else."""
    if device.type == "cpu":
        start = process_time()
        step()
        return process_time() - start
    torch.cuda.synchronize()
    start = perf_counter()
    step()
    torch.cuda.synchronize()
    return perf_counter() - start


def compare(encoder: str, pairs: int, repeats: int, device: torch.device) -> dict[str, float]:
    """Seconds of a plain step and of ours, by turns, the fastest of `repeats` after a first."""
    batch = noise(pairs, device)
    steps = {
        "plain": plain_step(network(encoder, device), batch),
        "ours": our_step(network(encoder, device), batch, CONFIG),
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats + 1):
        for name, step in steps.items():
            taken[name].append(seconds(step, device))
    return {name: min(times[1:]) for name, times in taken.items()}


def variant(encoder: str, pairs: int, repeats: int, device: torch.device, options: dict[str, Any]) -> dict[str, float]:
    """Seconds and gigabytes of our step with other options, on a GPU."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    step = our_step(network(encoder, device), noise(pairs, device), replace(CONFIG, batch_size=pairs, **options))
    fastest = min([seconds(step, device) for _ in range(repeats + 3)][3:])
    return {"seconds": fastest, "gigabytes": torch.cuda.max_memory_allocated() / 1e9}


def measure(name: str, pairs: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Everything about one pair of encoders."""
    encoder = ENCODERS[name]
    found: dict[str, Any] = compare(encoder, pairs, repeats, device)
    found |= {"ratio": found["plain"] / found["ours"], "pairs per second": pairs / found["ours"]}
    if device.type == "cuda":
        operations = flops_per_pair(network(encoder, device), noise(2, device), device, torch.bfloat16)
        peak = matrix_product_peak(device, torch.bfloat16)
        found |= {"utilisation": operations * pairs / found["ours"] / peak, "peak": peak / 1e12}
        found["variants"] = {
            label: variant(encoder, pairs, repeats, device, options) for label, options in VARIANTS.items()
        }
    return found


def main() -> int:
    """Measure both pairs of encoders; the exit status says whether the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=0, help="pairs per step; 0: 4 on a CPU, 256 on a GPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pairs = options.batch or (256 if device.type == "cuda" else 4)
    found = {name: measure(name, pairs, options.repeats, device) for name in ENCODERS}
    met = all(figures["ratio"] >= BAR for figures in found.values())
    if device.type == "cuda":
        met = met and found["ViT-B/16 + BERT-base"]["utilisation"] >= UTILISATION
    sys.stdout.write(json.dumps({"batch": pairs, **found}, indent=1) if options.json else as_text(pairs, found))
    return 0 if met else 1


def as_text(pairs: int, found: dict[str, Any]) -> str:
    """The figures for a reader."""
    lines = [f"batch {pairs}; bar: {BAR} times as fast as the plain loop"]
    for name, figures in found.items():
        lines.append(
            f"{name}: plain {figures['plain']:.3f} s, ours {figures['ours']:.3f} s, "
            f"{figures['ratio']:.2f} times as fast: {figures['pairs per second']:.1f} pairs/s"
        )
        if "peak" in figures:
            lines.append(f"  {figures['utilisation']:.1%} of {figures['peak']:.0f} TFLOP/s")
        for label, costs in figures.get("variants", {}).items():
            lines.append(f"  {label}: {costs['seconds']:.3f} s, {costs['gigabytes']:.1f} GB")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
