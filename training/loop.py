"""The training loop, the same for every method. A step is a function of the configuration and its number."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.nn.parallel import DistributedDataParallel

from imaging.augment import Augmentation, AugmentationConfig
from models.distributed import agree, rank, world_size
from models.encoders.local_files import named_encoders
from models.method import Batch, Method
from models.run_files import BEST, CARD, LAST, METRICS, TRAINED, UNTRAINED, read_result
from models.saved import ModelCard
from shards.loader import Loader, count_buffers, loading
from shards.manifest import Manifest
from shards.pool import Pool, origins_of
from store import seals
from training.config import TrainingConfig
from training.data.pairs import Pairs, open_shards, training_pairs, validation_pairs
from training.data.shares import order_pairs
from training.errors import TrainingError
from training.guards import StoppedError, StopRequest, batch_norm_guard, expect_finite, memory_guard
from training.monitoring.metrics_log import MetricsLog, lines_until
from training.monitoring.telemetry import measure
from training.objective import Objective, checkpoint_encoders
from training.optimizer import build_optimizer, clip_gradients, update
from training.parallel.group import Group, host_name
from training.parallel.processes import process_group, share
from training.schedule import epochs_without_better, learning_rate
from training.state.checkpoint import (
    check_same_run,
    copy_weights,
    explain_write_errors,
    remove_strays,
    resume,
    save_checkpoint,
    save_weights,
)
from training.state.finished import is_finished, write_result
from training.state.folder import RunFolder, own_folder
from training.state.origin import Origin, difference
from training.validation import validation_terms

Progress = Callable[[int, int], None]
LOG = logging.getLogger("training")
PAIRS, ENCODE, CONTRAST = 1, 2, 3  # streams of random numbers in a step


def train(
    config: TrainingConfig, progress: Progress | None = None, stop: StopRequest | None = None, patience: float = 0
) -> dict[str, Any]:
    """Train to the end, from the last checkpoint if there is one; returns (and writes) the run's result.

    `progress(done, total)` is called after every step. A finished run is returned as it is. Under torchrun every
    process calls this; the first one reads and writes the run's folder, and waits for it for `patience` seconds.

    Raises:
        StoppedError: `stop` was asked for; the checkpoint is written.
        FolderBusyError: another process trains in the folder.
        PeerLostError: another process of the run is gone.
    """
    output = Path(config.output)
    with ExitStack() as held, process_group(config.peer_timeout) as group, memory_guard(config), batch_norm_guard():
        config.expect_division(group.size)
        origin = group.together(lambda: Origin.of(config))
        expect_same(group, origin, config)
        first = group.rank == 0
        folder = group.together(lambda: held.enter_context(own_folder(output, patience)) if first else None)
        result = group.together(lambda: begin(output, origin, config) if first else None)
        result = agree(result)
        if result is not None:
            return result  # type: ignore[no-any-return]
        run = Run(config, origin, group, folder)
        run.finish(progress, stop or StopRequest())
        run.save_result()
        return run.result


def expect_same(group: Group, origin: Origin, config: TrainingConfig) -> None:
    """Raise TrainingError, on every process, where one has other code, data or settings than the first."""
    own = {**json.loads(origin.as_json()), "interval of checkpoints": config.checkpoint_every, "host": host_name()}
    first, *others = map(json.loads, group.collect(json.dumps(own)))
    for other in others:
        different = difference(first, {**other, "host": first["host"]})
        if different:
            name, theirs, ours = different
            raise TrainingError(
                f"the processes of a run have to be alike, but {other['host']} has another {name} than {first['host']} "
                f"({ours!r}, not {theirs!r}): bring both to the same state and give the same command again"
            )


def begin(output: Path, origin: Origin, config: TrainingConfig) -> dict[str, Any] | None:
    """Prepare the run's folder; returns the result of a run that is finished."""
    remove_strays(output)
    check_same_run(output, origin)
    config.save(output / "config.json")
    return read_result(output) if is_finished(output) else None


class Run:
    """One run: data, network, optimizer, and the step they have reached."""

    def __init__(self, config: TrainingConfig, origin: Origin, group: Group, folder: RunFolder | None) -> None:
        self.config, self.origin, self.device, self.folder = config, origin, group.device, folder
        self.started = perf_counter()
        self.output = Path(config.output)
        if config.threads:
            torch.set_num_threads(config.threads)
        self.precision = fast_precision(self.device) if config.precision == "auto" else config.precision
        self.dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        group.together(self.read)
        self.objective = Objective(self.method, config.micro_batches, config.compile)
        self.shared = share(self.objective, config, self.device)
        self.optimizer = build_optimizer(self.method, config)
        self.step, state = resume(self.output, origin, self.method, self.optimizer, group)
        self.seconds_before: float = state.get("seconds", 0.0)
        self.losses: list[float] = state.get("validation_losses", [])  # one per epoch
        self.result: dict[str, Any] = state.get("result", {})  # of a run that has ended
        self.resumed_from = self.step
        self.log = self.open_log(state.get("metrics", ""))

    def read(self) -> None:
        """Open the data and build the network, each process on its host."""
        config, origin = self.config, self.origin
        self.output.mkdir(parents=True, exist_ok=True)
        reader = open_shards(config)
        size = config.input_size or reader.manifest.size
        self.method = self.build(size, reader.manifest)
        self.data = training_pairs(config, reader, self.method, origin.fingerprint)
        self.validation = validation_pairs(config, reader, self.method, origin.fingerprint)
        self.shuffle = order_pairs(config, self.data)
        self.room = self.data.room(count_buffers(config.loader_threads), config.batch_size)
        self.per_epoch = self.shuffle.batches_per_epoch / config.accumulate
        self.steps = self.count_steps()
        if self.steps and self.method.contrasts_pairs and config.batch_size == 1:
            raise TrainingError(
                f"{config.method} contrasts the pairs of a batch with each other, so that a batch of one teaches it "
                "nothing: set `batch_size` to 2 or more"
            )
        self.augmentation = Augmentation(AugmentationConfig(**config.augmentation), size)
        if self.steps and self.method.two_views and not self.augmentation.config.varies:
            raise TrainingError(
                f"{config.method} compares two views of an image, but `augmentation` changes nothing, so that both are "
                "the same: give it a `crop_scale` below 1, or another change"
            )

    def count_steps(self) -> int:
        """Steps of the whole run."""
        epochs = self.config.epochs
        return self.config.max_steps or max(int(epochs > 0), round(epochs * self.per_epoch))

    def build(self, size: int, manifest: Manifest | Pool) -> Method:
        """The network with the run's initial weights, which are kept as the floor to compare with."""
        knowledge = pq.read_table(self.config.knowledge).select(["kind", "name", "description"]).to_pylist()
        fit = "crop" if self.config.augmentation.get("window") else "resize"
        decoding = dict(manifest.decoding)
        name, own = self.config.method, self.config.method_config
        trained_on = origins_of(manifest)
        card = ModelCard(
            name, own, knowledge, size, fit, manifest.size, decoding, named_encoders(own), trained_on=trained_on
        )
        torch.manual_seed(self.config.seed)
        method = card.build()
        if rank() == 0:
            with explain_write_errors(self.output / CARD):
                card.save(self.output)
            save_weights(method, self.output / UNTRAINED)
        if self.config.gradient_checkpointing:
            checkpoint_encoders(method)
        return method.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def open_log(self, before: str) -> MetricsLog:
        """The log of this process, which goes on after the lines `before` of the checkpoint; those are of the first."""
        path = self.output / (METRICS if rank() == 0 else f"metrics.{rank()}.jsonl")
        before = before if rank() == 0 else lines_until(path, self.step)
        return MetricsLog(path, before, self.config.log_every, self.method.telemetry)

    def finish(self, progress: Progress | None, stop: StopRequest) -> None:
        """Take all remaining steps, if there are any."""
        if self.finished():
            self.result = self.result or self.facts()
            return
        log = self.log
        self.method.train()
        first, threads = self.step * self.config.accumulate, self.config.loader_threads
        with loading(self.pairs, first, threads) as loader:
            while not self.finished():
                self.take_step(loader, log)
                self.step += 1
                if self.epochs_done(self.step) > self.epochs_done(self.step - 1):
                    self.validate(log)
                wish, done = stop.agree(self.device), self.finished()
                log.report(self.step, self.epoch, last=bool(wish.stop) or done)
                if done:
                    self.result = self.facts()
                if wish.stop or wish.checkpoint or done or self.step % self.config.checkpoint_every == 0:
                    self.save()
                if wish.checkpoint and rank() == 0:
                    LOG.info("A checkpoint of step %d is written, as SIGUSR1 asked; the training goes on.", self.step)
                if progress:
                    progress(self.step, self.steps)
                if wish.stop and not done:
                    raise StoppedError(self.step, wish.stop)
        self.method.eval()

    def finished(self) -> bool:
        """Whether the last step is done, or too many epochs have brought no better validation loss."""
        patience = self.config.early_stop
        return self.step >= self.steps or bool(patience and epochs_without_better(self.losses) >= patience)

    @property
    def epoch(self) -> float:
        """Passes over the training split so far."""
        return self.step / self.per_epoch

    def epochs_done(self, step: int) -> int:
        """Epochs that have ended in the first `step` steps."""
        return self.shuffle.epochs_before(step * self.config.accumulate)

    def take_step(self, loader: Loader[Pairs], log: MetricsLog) -> None:
        """One update from `accumulate` batches."""
        config = self.config
        rate = self.set_learning_rate()
        self.method.on_step_start()
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, torch.Tensor] = {}
        rows = []
        for part in range(config.accumulate):
            with log.time_waiting():
                pairs = next(loader)
            number = self.step * config.accumulate + part
            torch.manual_seed(self.seed_of(number, ENCODE, 0))
            batch = self.on_device(pairs)
            if rank() and not self.objective.draws_rows(self.device):
                torch.manual_seed(self.seed_of(number, ENCODE, rank()))
            if log.hardware is None and not config.fsdp:  # operations are counted on a copy, and parts have none
                log.hardware = measure(self.method, batch, self.device, self.dtype)
            for name, term in self.backward(batch, number, part == config.accumulate - 1).items():
                sums[name] = sums.get(name, 0) + term
            rows.append(pairs.rows)
        self.method.on_gradients(self.epoch)
        norm = clip_gradients(self.method, config.clip_norm)
        *values, norm_value = torch.stack([*sums.values(), norm]).tolist()  # the step's one wait for the device
        terms = dict(zip(sums, values, strict=True))
        expect_finite(self.output, self.step + 1, terms, norm_value, lambda: self.data.image_ids(np.concatenate(rows)))
        update(self.optimizer)
        self.method.on_step_end()
        facts = {"train/loss": sum(values), "learning_rate": rate, "gradient_norm": norm_value}
        log.add(sum(map(len, rows)) // world_size(), terms, facts)

    def backward(self, batch: Batch, number: int, last: bool) -> dict[str, torch.Tensor]:
        """Add a batch's share to the gradients; returns its share of the loss terms."""
        with self.autocast(), self.without_exchange(not last):
            terms = self.shared(batch, self.seed_of(number, CONTRAST))
            terms = {name: term / self.config.accumulate for name, term in terms.items()}
        # whether gradients are exchanged was decided in the forward pass
        with self.draw_again(len(batch)):
            torch.stack(list(terms.values())).sum().backward()
        return {name: term.detach() for name, term in terms.items()}

    def draw_again(self, pairs: int) -> AbstractContextManager[Any]:
        """Where blocks of encoders are computed again: the random numbers are those of the first time."""
        if not self.config.gradient_checkpointing:
            return nullcontext()
        return self.objective.draw_rows(pairs // self.config.micro_batches)

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def without_exchange(self, wanted: bool) -> AbstractContextManager[Any]:
        """Keep the gradients of a batch to this process, to be exchanged with those of the step's last batch."""
        if wanted and isinstance(self.shared, DistributedDataParallel):
            return self.shared.no_sync()
        return nullcontext()

    def set_learning_rate(self) -> float:
        """Set and return the learning rate of this step."""
        rate = learning_rate(self.config, self.step, self.steps, self.per_epoch, self.losses)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def seed_of(self, *numbers: int) -> int:
        """A seed for one stream of random numbers."""
        return int(np.random.SeedSequence([self.config.seed, *numbers]).generate_state(1)[0])

    def pairs(self, number: int) -> Pairs:
        """Batch `number` as it is in the shards; called ahead of its step, in the loader's threads."""
        rng = np.random.default_rng([self.config.seed, number, PAIRS])
        into = self.room[number % len(self.room)]
        pairs = self.data.pairs(self.shuffle.batch(number), rng, into, self.config.micro_batches)
        return pairs.pinned(self.device)

    def on_device(self, pairs: Pairs) -> Batch:
        """The batch on the device, its images augmented there."""
        return pairs.augmented(self.augmentation, self.device, self.config.micro_batches)

    def validate(self, log: MetricsLog) -> None:
        """Add the validation loss of an epoch, and keep the weights if it is the lowest so far."""
        if self.validation is None:
            return
        with log.pause_timing():
            bf16 = self.precision == "bf16"
            terms = validation_terms(self.objective, self.validation, self.config, self.augmentation, bf16)
        loss = sum(terms.values())
        log.note({"validation/loss": loss, **{f"validation/loss_{name}": term for name, term in terms.items()}})
        if self.config.keeps_best and loss < min(self.losses, default=float("inf")):
            save_weights(self.method, self.output / BEST)
            if rank() == 0:
                seals.seal(self.output / BEST)
        self.losses.append(loss)

    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self.seconds_before + perf_counter() - self.started

    def save(self) -> None:
        """Write a checkpoint, from which alone the run can go on, or be finished again if it has ended."""
        state = {
            "seconds": self.seconds(),
            "validation_losses": self.losses,
            "metrics": self.log.text,
            "result": self.result,
        }
        save_checkpoint(
            self.output, self.origin, self.step, self.method, self.optimizer, state, self.has_best, self.expect_own
        )

    def expect_own(self) -> None:
        """Raise TrainingError where another training writes this run by now."""
        if self.folder is not None:
            self.folder.expect_own()

    @property
    def has_best(self) -> bool:
        """Whether there are weights of a lowest validation loss, which are then the run's result."""
        return self.config.keeps_best and bool(self.losses)

    def save_result(self) -> None:
        """Write the weights that the run is about, the last or those of the lowest validation loss, and its result.

        The result comes last, so a run that is killed before is not finished. Nothing else of it is needed after that.
        """
        self.expect_own()
        save_weights(self.method, self.output / (LAST if self.has_best else TRAINED))
        if rank() != 0:
            self.data.forget()
            if self.validation is not None:
                self.validation.forget()
            return
        if self.has_best:
            copy_weights(self.output / BEST, self.output / TRAINED)
        self.log.close()
        self.data.forget()
        if self.validation is not None:
            self.validation.forget()
        with explain_write_errors(self.output):
            self.result = write_result(self.output, self.result)

    def facts(self) -> dict[str, Any]:
        """Facts about the run, for its result."""
        return {
            "steps": self.step,
            "pairs": len(self.data),
            "pairs_left_out": self.data.left_out,
            "epochs": round(self.epoch, 3),
            "lowest_validation_loss": min(self.losses, default=None),
            "seconds": round(self.seconds(), 2),
            "processes": world_size(),
            "precision": self.precision,
            **self.method.facts,
            "resumed_from": self.resumed_from,
        }


def fast_precision(device: torch.device) -> str:
    """`bf16` on GPUs that have it and on CPUs with bf16 matrix instructions, else `fp32`."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "fp32"
