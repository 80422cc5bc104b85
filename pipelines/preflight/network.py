"""Builds the network of a training once before anything else: `python -m pipelines.preflight.network < REQUEST.json`.

Encoders that are not there, weights that do not fit, sizes that exclude each other and a batch that no memory holds are
known in seconds, and not after the ingestion. This runs in a process of its own, so that the process of the run need
not load torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from store.code import ROOT
from store.errors import did_you_mean, sentence_of
from training.config import TrainingConfig
from training.errors import TrainingError

GIGA = 1e9
CARD = "model.json"  # in the folder of a run whose network was built
DECIDE_NETWORK = ("method_config", "augmentation", "input_size")
TRAINED_BYTES = 16  # of a parameter: weight, gradient, and two moments of the optimizer, in 32 bits
FIRST_LAYER = 64  # bytes per pixel of an image: the least that the first activations of an encoder take
PATHS = ("/", "./", "../")  # how a file or folder in a setting begins, unlike a name of the hub
PATIENCE = 600.0  # seconds; a download of weights may be among them
UNKNOWN = "the process that builds it ended early"


def expect_paths(config: TrainingConfig) -> None:
    """Raise TrainingError where the settings of a method name a file or folder that is not there."""
    for name, value in config.method_config.items():
        if isinstance(value, str) and value.startswith(PATHS) and not Path(value).exists():
            raise TrainingError(f"method_config.{name} names {value}, and there is nothing: correct the path.")


def is_tried(training: TrainingConfig, before: TrainingConfig) -> bool:
    """Whether a training builds the network of another one, and takes no larger batches through it.

    What is known to work is not built on trial, which takes seconds.
    """
    larger = training.batch_size * before.micro_batches > before.batch_size * training.micro_batches
    return not larger and all(getattr(training, name) == getattr(before, name) for name in DECIDE_NETWORK)


def earlier_trainings(home: Path, method: str) -> Iterator[TrainingConfig]:
    """The trainings of a home whose network was built: it has a card."""
    for card in (home / "checkpoints" / method).glob(f"*/{CARD}"):
        with suppress(TrainingError, OSError, TypeError):
            yield TrainingConfig.load(card.with_name("config.json"))


def expect_network(config: TrainingConfig, size: int, processes: int) -> None:
    """Raise TrainingError where the network of `config` cannot be built for images of `size` pixels, or not trained.

    `processes` is how many train it on this machine; 0 where others do, whose memory is not known here.
    """
    request = json.dumps({"config": asdict(config), "size": config.input_size or size, "processes": processes})
    command = [sys.executable, "-m", "pipelines.preflight.network"]
    done = subprocess.run(
        command, cwd=ROOT, input=request, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    lines = done.stdout.splitlines()
    answer: dict[str, str] = json.loads(lines[-1]) if done.returncode == 0 and lines else {"mistake": UNKNOWN}
    if answer["mistake"]:
        raise TrainingError(f"{config.method} cannot be trained with these settings: {answer['mistake']}")


def main() -> int:
    """Build what the request describes and print what is wrong with it, as one line of JSON."""
    request = json.loads(sys.stdin.read())
    mistake = find_mistake(TrainingConfig(**request["config"]), request["size"], request["processes"])
    sys.stdout.write(f"\n{json.dumps({'mistake': mistake})}\n")
    return 0


def find_mistake(config: TrainingConfig, size: int, processes: int = 1) -> str:
    """What keeps a network from being built, or trained by so many processes of this machine, as the end of a sentence.

    Empty where nothing does.
    """
    from imaging.augment import AugmentationConfig
    from models.registry import build_method
    from report_parsing.knowledge.base import KnowledgeBase

    known = AugmentationConfig.__dataclass_fields__
    if unknown := sorted(config.augmentation.keys() - known.keys()):
        return f"`augmentation` has no field `{unknown[0]}`{did_you_mean(unknown[0], known)}"
    try:
        AugmentationConfig(**config.augmentation)
        network = build_method(config.method, config.method_config, KnowledgeBase.default().table().to_pylist(), size)
    except Exception as error:  # the settings are all that went in, so they are what is wrong
        return sentence_of(error) or f"{type(error).__name__}, {error}"
    return _memory_mistake(config, network, size, processes) if processes else ""


def _memory_mistake(config: TrainingConfig, network: Any, size: int, processes: int) -> str:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    weights = TRAINED_BYTES * sum(parameter.numel() for parameter in parameters)
    batch = FIRST_LAYER * size * size * (config.batch_size // config.micro_batches)
    there, each_has_its_own = _memory()
    if each_has_its_own:
        batch //= processes
    else:
        weights *= processes
    if weights + batch <= there:
        return ""
    advice = "lower `batch_size`, or raise `micro_batches`" if batch > weights else "choose a smaller encoder"
    return (
        f"it takes {(weights + batch) / GIGA:.1f} GB of memory or more, and {there / GIGA:.1f} GB are there; {advice}"
    )


def _memory() -> tuple[float, bool]:
    """Bytes of the GPU, which each process has for itself, or of the machine, which they share; and which it is."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory), True
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")), False


if __name__ == "__main__":
    sys.exit(main())
