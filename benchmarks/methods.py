"""`python -m benchmarks.methods`: what a step and an evaluation of each method cost at its paper's size.

Every method is built from `configs/paper/<name>.yaml` with random weights (BERT-base stands in for its hub names: the
same architecture) and takes steps, forward, backward and update, on images and reports of the simulator. A process per
method, so that peak memory is its own. The share of the losses is what a step takes beyond its encoders alone, forward
and backward, on the same inputs; the growth is the time of a doubled batch over that of a single one. The share of the
peak is that of the fastest bf16 product of two matrices which the operations of the network take (MFU). Without a GPU
the seconds are those of one core, so that other work on the machine does not count. Systems without pretraining are
evaluated alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cohorts.phantom.config import FINDINGS, PhantomConfig
from cohorts.phantom.findings import sample_finding
from cohorts.phantom.report import Reader
from models.encoders.clip import ClipImageEncoder, ClipTextEncoder
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.method import Batch, Method, TextSource, Tokens
from models.registry import method_module, method_names, recipe, settings_class
from report_parsing.knowledge.base import KnowledgeBase
from report_parsing.vocabulary import ENTITIES, POSITIONS
from training.config import preset
from training.data.texts import TOGETHER
from training.monitoring.telemetry import flops_per_pair, matrix_product_peak

# The hub cannot be reached everywhere, and values of weights cost nothing: same architectures, random weights.
STAND_IN = {"text_encoder": "bert/12x768", "image_weights": "", "weights": "", "start_from": ""}
ENCODERS = (ImageEncoder, TextEncoder, ClipImageEncoder, ClipTextEncoder)
PREVALENCE = 0.25  # of each finding in the reports
SENTENCES = 6  # of a report
MENTIONED = 0.1  # share of (position, entity) pairs that a report mentions
COLUMNS = ("method", "batch", "parameters", "samples/s", "of the peak", "losses", "growth", "peak MB", "evaluated/s")


class Paper:
    """A method at its paper's size, and batches for it."""

    def __init__(self, name: str, device: torch.device) -> None:
        config = preset(name, "paper")
        own = {key: value for key, value in config.method_config.items() if key not in STAND_IN}
        self.size = config.input_size or 224
        self.device = device
        self.method = _build(name, own, self.size).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.method.train()
        self.optimizer = torch.optim.AdamW(self.method.parameters(), lr=1e-6, fused=True)

    def batch(self, size: int) -> Batch:
        """`size` images of noise with reports or triplets."""
        rng = np.random.default_rng(0)
        images = torch.from_numpy(rng.integers(0, 256, (size, 1, self.size, self.size), np.uint8))
        source = self.method.texts
        tokens = _tokens(source, size, rng) if source else None
        shape = (size, len(POSITIONS), len(ENTITIES))
        said = torch.from_numpy(np.where(rng.random(shape) < MENTIONED, rng.integers(0, 2, shape), -1).astype(np.int8))
        return Batch(images, tokens, said, images, said).to(self.device)

    def step(self, batch: Batch) -> None:
        """Forward, backward and update."""
        with autocast(self.device):
            self.method.on_step_start()
            loss = torch.stack(list(self.method.losses(batch).values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.method.on_step_end()

    def evaluate(self, batch: Batch) -> None:
        """Features of the images, as the probes read them."""
        with torch.inference_mode(), autocast(self.device):
            self.method.image_features(batch.images)

    def encoders_alone(self, batch: Batch) -> Callable[[], None]:
        """The encoders' part of a step on `batch`: forward, and backward from gradients of ones."""
        calls = list(_calls(self.method, batch, self.device))

        def run() -> None:
            self.optimizer.zero_grad(set_to_none=True)
            with autocast(self.device):
                outputs = [tensor for module, given, named in calls for tensor in _tensors(module(*given, **named))]
            trained = [tensor for tensor in outputs if tensor.requires_grad]
            torch.autograd.backward(trained, [torch.ones_like(tensor) for tensor in trained])

        return run


def _build(name: str, own: dict[str, Any], size: int) -> Method:
    knowledge = KnowledgeBase.default().table().select(["kind", "name", "description"]).to_pylist()
    known = {field.name for field in fields(settings_class(name))}
    stand_in = {option: value for option, value in STAND_IN.items() if option in known}
    # as if weights followed, where these are all that a system is
    state: dict[str, Tensor] | None = None if has_steps(name) else {}
    method: Method = method_module(name).build({**own, **stand_in}, knowledge, size, state)
    return method


def has_steps(name: str) -> bool:
    """Whether the method is trained."""
    return recipe(name).get("epochs") != 0


def _tokens(source: TextSource, size: int, rng: np.random.Generator) -> Tokens:
    """Token ids of `size` reports, in the unit that the method reads."""
    if source.unit not in TOGETHER:
        return source.tokenizer([_text(source.unit, rng) for _ in range(size)])
    unit, each = ("report", len(source.sections)) if source.unit == "sections" else ("sentence", SENTENCES)
    tokens = source.tokenizer([_text(unit, rng) for _ in range(size * each)])
    return tokens.apply(lambda tensor: tensor.unflatten(0, (size, each)))


def _text(unit: str, rng: np.random.Generator) -> str:
    reader = Reader(PhantomConfig(), rng)
    seen = {name for name in FINDINGS if rng.random() < PREVALENCE}
    for name in seen:
        reader.say(sample_finding(name, rng))
    reader.rule_out([name for name in FINDINGS if name not in seen])
    sentences = [*reader.sentences, "No acute cardiopulmonary process."]
    return sentences[0] if unit == "sentence" else " ".join(sentences)


def _calls(method: Method, batch: Batch, device: torch.device) -> Iterator[tuple[nn.Module, Any, Any]]:
    """The encoders that a forward pass calls, and their arguments."""
    found: list[tuple[nn.Module, Any, Any]] = []
    hooks = [
        module.register_forward_pre_hook(lambda *call: found.append(call), with_kwargs=True)
        for module in method.modules()
        if isinstance(module, ENCODERS)
    ]
    with torch.no_grad(), autocast(device):
        method.encode(batch)
    for hook in hooks:
        hook.remove()
    yield from found


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    parts = (
        output if isinstance(output, (tuple, list)) else vars(output).values() if hasattr(output, "__dict__") else ()
    )
    return [tensor for part in parts for tensor in _tensors(part)]


@contextmanager
def autocast(device: torch.device) -> Iterator[None]:
    """bf16, as training uses it where the hardware has it."""
    with torch.autocast(device.type, torch.bfloat16):
        yield


def _seconds(call: Callable[[], None], repeats: int, device: torch.device) -> float:
    clock = perf_counter if device.type == "cuda" else process_time
    taken = []
    for _ in range(repeats + 1):
        started = clock()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(clock() - started)
    return median(taken[1:])


def measure(name: str, size: int, repeats: int) -> dict[str, Any]:
    """One row of the table."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    paper = Paper(name, device)
    batch = paper.batch(size)
    steps = measure_steps(paper, batch, repeats) if has_steps(name) else {}
    paper.method.eval()
    evaluated = _seconds(lambda: paper.evaluate(batch), repeats, device)
    return {
        **dict.fromkeys(COLUMNS, ""),
        "method": name,
        "batch": size,
        "parameters": f"{paper.method.facts['parameters'] / 1e6:.1f} M",
        "peak MB": f"{peak_megabytes(device):.0f}",
        **steps,
        "evaluated/s": f"{size / evaluated:.2f}",
    }


def measure_steps(paper: Paper, batch: Batch, repeats: int) -> dict[str, str]:
    """What a step on `batch` takes, and on twice as many pairs."""
    size, device = len(batch), paper.device
    step = _seconds(lambda: paper.step(batch), repeats, device)
    peak = f"{share_of_peak(paper, batch, size / step):.1%}" if device.type == "cuda" else ""
    memory = peak_megabytes(device)
    encoders = _seconds(paper.encoders_alone(batch), repeats, device)
    double = paper.batch(2 * size)
    doubled = _seconds(lambda: paper.step(double), repeats, device)
    return {
        "samples/s": f"{size / step:.2f}",
        "of the peak": peak,
        "losses": f"{max(0.0, 1 - encoders / step):.1%}",
        "growth": f"{doubled / step:.2f}",
        "peak MB": f"{memory:.0f}",
    }


def share_of_peak(paper: Paper, batch: Batch, pairs_per_second: float) -> float:
    """The share of a large bf16 product's operations per second that the network's own operations are."""
    flops = flops_per_pair(paper.method, batch, paper.device, torch.bfloat16)
    return flops * pairs_per_second / matrix_product_peak(paper.device, torch.bfloat16)


def peak_megabytes(device: torch.device) -> float:
    """Most memory so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="*", default=method_names(), choices=method_names())
    parser.add_argument("--batch", type=int, default=8, help="pairs per step; the papers take 32 to 144")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=method_names(), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.batch, options.repeats)))
        return
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for name in options.methods:
        command = [sys.executable, "-m", "benchmarks.methods", "--one", name]
        command += ["--batch", str(options.batch), "--repeats", str(options.repeats)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(f"| {' | '.join(str(row[column]) for column in COLUMNS)} |", flush=True)


if __name__ == "__main__":
    main()
