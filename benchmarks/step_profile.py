"""`python -m benchmarks.step_profile [--method mgca] [--batch N] [--json]`: where the time of a training step goes.

A method at its paper's size, with random weights as in `benchmarks.methods`, takes two steps on images of noise and
reports of the simulator; torch's profiler follows the second. A part has the time of its operations forward and
backward, which are matched by autograd's numbers: wall time of the one thread used, or of the GPU where there is one.
A second table says which operations take the most.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.methods import Paper, autocast
from imaging.augment import Augmentation, AugmentationConfig
from models.method import Method
from models.registry import method_names
from training.config import preset

STORED = 256  # side of the images in the shards, of which most papers cut 224
MARK = "part: "
REST = "other losses and the rest"
MOST = 8  # operations that are shown
NAMES = {  # of parts; other modules go by their own names
    "image_head": "projection heads",
    "report_head": "projection heads",
    "patch_head": "projection heads",
    "word_head": "projection heads",
    "look_at_patches": "token alignment",
    "look_at_words": "token alignment",
}
FUNCTIONS = {  # of methods, beside their modules
    "prepare": "data",
    "read": "words of reports",
    "align": "token alignment",
    "align_prototypes": "prototypes and Sinkhorn",
}


def marked(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with what it does counted as `part`, unless something inside it is a part of its own."""

    def call(*given: Any, **named: Any) -> Any:
        with record_function(MARK + part):
            return function(*given, **named)

    return call


def mark(method: Method) -> None:
    """Mark the modules and functions of a method."""
    for name, module in method.named_children():
        module.forward = marked(NAMES.get(name, name.replace("_", " ")), module.forward)
    for name, part in FUNCTIONS.items():
        if hasattr(method, name):
            setattr(method, name, marked(part, getattr(method, name)))


def step_of(name: str, pairs: int, device: torch.device) -> Callable[[], None]:
    """A training step of the method on its own batch."""
    paper, config = Paper(name, device), preset(name, "paper")
    mark(paper.method)
    stored = torch.randint(0, 256, (pairs, 1, STORED, STORED), dtype=torch.uint8)
    augmentation = Augmentation(AugmentationConfig(**config.augmentation), paper.size)
    batch = paper.batch(pairs)

    def step() -> None:
        with record_function(MARK + "data"):
            images = augmentation(stored.to(device), torch.zeros(pairs, dtype=torch.bool, device=device))
            images = images.contiguous(memory_format=torch.channels_last)
        with autocast(device):
            loss = torch.stack(list(paper.method.losses(replace(batch, images=images)).values())).sum()
        loss.backward()
        with record_function(MARK + "optimizer"):
            paper.optimizer.step()
            paper.optimizer.zero_grad(set_to_none=True)

    return step


def times(step: Callable[[], None], device: torch.device) -> dict[str, dict[str, float]]:
    """Seconds of each part, and of each operation, in the second step."""
    step()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as profiler:
        step()
    events = list(profiler.events())
    forward = {event.sequence_nr: part for event in events if event.sequence_nr >= 0 and (part := _part(event))}
    parts: dict[str, float] = defaultdict(float)
    operations: dict[str, float] = defaultdict(float)
    for event in events:
        seconds = (event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total) / 1e6
        parts[_part(event) or _backward_of(event, forward) or REST] += seconds
        operations[event.name] += seconds
    return {"part": _longest_first(parts), "operation": _longest_first(operations)}


def _longest_first(found: dict[str, float]) -> dict[str, float]:
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _part(event: FunctionEvent | None) -> str:
    """The innermost part that the operation runs in."""
    while event is not None:
        if event.name.startswith(MARK):
            return event.name.removeprefix(MARK)
        event = event.cpu_parent
    return ""


def _backward_of(event: FunctionEvent | None, forward: dict[int, str]) -> str:
    """The part whose backward pass the operation belongs to."""
    while event is not None:
        if event.sequence_nr in forward:
            return forward[event.sequence_nr]
        event = event.cpu_parent
    return ""


def main() -> None:
    """Print the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="mgca", choices=method_names())
    parser.add_argument("--batch", type=int, default=4, help="pairs per step; the papers take 32 to 144")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = times(step_of(options.method, options.batch, device), device)
    if options.json:
        sys.stdout.write(json.dumps({"batch": options.batch, **found}, indent=1))
        return
    sys.stdout.write(as_table("part", found["part"], len(found["part"])) + "\n")
    sys.stdout.write(as_table("operation", found["operation"], MOST))


def as_table(heading: str, found: dict[str, float], rows: int) -> str:
    """The first `rows`, with their share of all."""
    total = sum(found.values())
    lines = [f"| {name} | {seconds:.3f} | {seconds / total:.1%} |" for name, seconds in list(found.items())[:rows]]
    return "\n".join([f"| {heading} | seconds | share |", "| --- | --- | --- |", *lines, ""])


if __name__ == "__main__":
    main()
