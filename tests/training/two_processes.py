"""Loss and gradients of methods on two processes, each with half of a batch; started by `test_distributed`."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from models.distributed import rank, world_size
from models.registry import method_names
from tests.models.tiny import tiny_batch, tiny_method
from training import objective as objective_module
from training.config import TrainingConfig
from training.loop import train
from training.objective import Objective
from training.parallel.processes import process_group, share
from training.parallel.sharding import gather_whole

PAIRS, SEED = 8, 7
TYPES = (torch.float32, torch.float64)
WITH_BLOCKS = ("chexzero", "convirt", "gloria", "lrclr", "mgca")  # methods that `fsdp` can shard as they are in tests
OPTIMIZERS = ("adamw", "sgd")


def losses_and_gradients(
    name: str, dtype: torch.dtype, micro_batches: int = 1, fsdp: bool = False
) -> dict[str, Tensor]:
    """Of the tiny method on this process's share of the batch: batch norm held fixed, no dropout."""
    torch.set_num_threads(1)
    method = tiny_method(name).to(dtype).eval()
    prepare = method.prepare
    method.prepare = lambda images: prepare(images).to(dtype)  # which makes float32 of pixels
    config = TrainingConfig(name, batch_size=PAIRS, micro_batches=micro_batches, fsdp=fsdp)
    shared = share(Objective(method, micro_batches), config, torch.device("cpu"))
    each = PAIRS // world_size()
    part = tiny_batch(method, PAIRS).part(slice(rank() * each, (rank() + 1) * each))
    terms = shared(part, SEED)
    torch.stack(list(terms.values())).sum().backward()
    trained = {key: p.grad for key, p in method.named_parameters() if p.grad is not None}
    gradients = {f"gradient of {key}": gather_whole(gradient) for key, gradient in trained.items()}
    return {**{f"loss {key}": term.detach() for key, term in terms.items()}, **gradients}


def main(folder: Path) -> None:
    """All methods in one of the two processes, then a whole run; results go to files in `folder`."""
    with process_group():
        for name in method_names():
            for dtype in TYPES:
                torch.save(losses_and_gradients(name, dtype), folder / f"{name} {dtype} {rank()}")
        train(TrainingConfig.load(folder / "run.json"))
        for name in WITH_BLOCKS:
            for micro_batches in (1, 2):
                found = losses_and_gradients(name, torch.float64, micro_batches, fsdp=True)
                torch.save(found, folder / f"{name} sharded {micro_batches} {rank()}")
        for optimizer in OPTIMIZERS:
            run_and_resume(TrainingConfig.load(folder / f"{optimizer}.json"))
        objective_module.gather = without_gradient
        torch.save(losses_and_gradients("convirt", torch.float64), folder / f"without gradient {rank()}")


def run_and_resume(config: TrainingConfig) -> None:
    """A run, and the same again from the checkpoint in its middle, in the folder beside whose name ends in `-again`."""
    train(config)
    again = config.output + "-again"
    if rank() == 0:
        last = shutil.ignore_patterns(f"*{config.max_steps}")
        shutil.copytree(Path(config.output) / "checkpoints", Path(again) / "checkpoints", ignore=last)
    dist.barrier()
    train(replace(config, output=again))


def without_gradient(tensor: Tensor) -> Tensor:
    """A gather as it is often written: its result knows only the process's own rows."""
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(parts, tensor.detach().contiguous())
    parts[rank()] = tensor
    return torch.cat(parts)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
