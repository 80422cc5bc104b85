"""Loss and gradients of methods on two processes, each with half of a batch; started by `test_distributed`."""

import shutil
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from models.distributed import rank, world_size
from tests.models.methods.images_only.moco_steps import shuffled_keys, state_by_our_loop
from tests.models.tiny import TRAINED, tiny_batch, tiny_method
from training.config import TrainingConfig
from training.loop import train
from training.objective import Objective, checkpoint_encoders
from training.parallel import rows
from training.parallel.processes import process_group, share
from training.parallel.rows import own_rows
from training.parallel.sharding import gather_whole

PAIRS, SEED = 8, 7
IN_BOTH = ("chexzero", "convirt", "medklip")  # in single precision as well; a wrong sum shows in either
# Micro-batches on two processes: with queues, momentum, words, changed texts, targets, batch norm and dropout.
IN_MICRO_BATCHES = ("albef", "convirt", "gloria", "medclip", "medklip", "mgca", "moco")
WITH_BLOCKS = ("chexzero", "convirt", "gloria", "lrclr", "mgca")  # methods that `fsdp` can shard as they are in tests
SHARDED = [(name, 1) for name in WITH_BLOCKS] + [("convirt", 2), ("mgca", 2)]  # and in how many micro-batches
OPTIMIZERS = ("adamw", "sgd")
RANDOM = {  # dropout, and batch norm where the tiny encoders have none
    "albef": {"image_encoder": "resnet10t/2"},
    "chexzero": {"image_encoder": "resnet10t", "image_stage": 2, "image_weights": ""},
    "convirt": {"image_encoder": "resnet10t/2"},
    "gloria": {"image_encoder": "test_resnet", "image_stage": 3},
    "lrclr": {"image_encoder": "vit/2x32r", "image_weights": ""},
    "medclip": {"image_encoder": "resnet10t/2", "changed_copy": True},
    "medklip": {"dropout": 0.2},
    "mgca": {"image_encoder": "resnet10t/2", "upsampled": 0, "text_pooling": "words"},  # [CLS] is alike at first
}


def types_of(name: str) -> tuple[torch.dtype, ...]:
    """The precisions in which a method is compared."""
    return (torch.float32, torch.float64) if name in IN_BOTH else (torch.float64,)


def micro_batches_of(name: str) -> tuple[int, ...]:
    """In how many micro-batches a step of a method is taken on two processes."""
    return (1, 2) if name in IN_MICRO_BATCHES else (1,)


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
    part = tiny_batch(method, PAIRS).part(own_rows(PAIRS, micro_batches))
    terms = shared(part, SEED)
    torch.stack(list(terms.values())).sum().backward()
    trained = {key: p.grad for key, p in method.named_parameters() if p.grad is not None}
    gradients = {f"gradient of {key}": gather_whole(gradient) for key, gradient in trained.items()}
    return {**{f"loss {key}": term.detach() for key, term in terms.items()}, **gradients}


def trained_once(name: str, micro_batches: int = 1, **options: bool) -> dict[str, Tensor]:
    """Losses, gradients and buffers of a step with dropout and batch norm, in double precision."""
    torch.set_num_threads(1)
    method = tiny_method(name, **RANDOM.get(name, {})).double().train()
    prepare = method.prepare
    method.prepare = lambda images: prepare(images).double()
    checkpointed = options.pop("gradient_checkpointing", False)
    if checkpointed:
        checkpoint_encoders(method)
    objective = Objective(method, micro_batches)
    config = TrainingConfig(name, batch_size=PAIRS, micro_batches=micro_batches, **options)
    shared = share(objective, config, torch.device("cpu"))
    batch = tiny_batch(method, PAIRS).part(own_rows(PAIRS, micro_batches))
    torch.manual_seed(SEED)
    terms = shared(batch, SEED)
    with objective.draw_rows(len(batch) // micro_batches) if checkpointed else nullcontext():
        torch.stack(list(terms.values())).sum().backward()
    gradients = {f"gradient of {key}": p.grad for key, p in method.named_parameters() if p.grad is not None}
    buffers = {f"buffer {key}": value.double() for key, value in method.named_buffers() if "running" in key}
    return {**{f"loss {key}": term.detach() for key, term in terms.items()}, **gradients, **buffers}


def main(folder: Path) -> None:
    """All methods in one of the two processes, then a whole run; results go to files in `folder`."""
    with process_group():
        for name in TRAINED:
            for dtype in types_of(name):
                torch.save(losses_and_gradients(name, dtype), folder / f"{name} {dtype} {rank()}")
            for micro_batches in micro_batches_of(name):
                torch.save(trained_once(name, micro_batches), folder / f"{name} trained {micro_batches} {rank()}")
        for micro_batches in (1, 2):
            again = trained_once("convirt", micro_batches, gradient_checkpointing=True)
            torch.save(again, folder / f"convirt checkpointed {micro_batches} {rank()}")
        torch.save(trained_once("convirt", sync_batch_norm=False), folder / f"convirt apart {rank()}")
        for accumulate in (1, 4):
            torch.save(state_by_our_loop(accumulate, micro_batches=1), folder / f"moco steps {accumulate} {rank()}")
        torch.save(shuffled_keys(), folder / f"moco keys {rank()}")
        train(TrainingConfig.load(folder / "run.json"))
        for name, micro_batches in SHARDED:
            found = losses_and_gradients(name, torch.float64, micro_batches, fsdp=True)
            torch.save(found, folder / f"{name} sharded {micro_batches} {rank()}")
        for optimizer in OPTIMIZERS:
            run_and_resume(TrainingConfig.load(folder / f"{optimizer}.json"))
        resume_on_hosts_without_a_common_folder(TrainingConfig.load(folder / f"{OPTIMIZERS[0]}.json"))
        rows.gather = without_gradient
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


def resume_on_hosts_without_a_common_folder(config: TrainingConfig) -> None:
    """Each process has a folder of its own, and only the second one a checkpoint."""
    own = f"{config.output}-host-{rank()}"
    if rank() == 1:
        last = shutil.ignore_patterns(f"*{config.max_steps}")
        shutil.copytree(Path(config.output) / "checkpoints", Path(own) / "checkpoints", ignore=last)
    dist.barrier()
    train(replace(config, output=own))


def without_gradient(tensor: Tensor) -> Tensor:
    """A gather as it is often written: its result knows only the process's own rows."""
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(parts, tensor.detach().contiguous())
    parts[rank()] = tensor
    return torch.cat(parts)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
