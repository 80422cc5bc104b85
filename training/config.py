"""Everything a training run depends on; written as JSON for the child process and kept beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from store.atomic import replacing
from training.errors import TrainingError
from training.recipes import merged, preset_options, recipe

CHOICES = {
    "optimizer": ("adamw", "adam", "sgd"),
    "schedule": ("cosine", "constant", "plateau"),
    "precision": ("auto", "bf16", "fp32"),
}


@dataclass(frozen=True)
class TrainingConfig:
    """One run. A method's own recipe (`TRAINING` in its file) takes the place of these defaults."""

    method: str
    shards: str = ""  # folder with manifest.json
    knowledge: str = ""  # the knowledge table, Parquet
    output: str = ""  # folder of this run
    method_config: dict[str, Any] = field(default_factory=dict)  # over the defaults of the method
    augmentation: dict[str, Any] = field(default_factory=dict)  # over the defaults of imaging.augment
    input_size: int = 0  # side of the images that the network sees; 0: as in the shards
    seed: int = 0  # of weights, shuffling, augmentation and sampling
    epochs: float = 60.0  # passes over the training split
    max_steps: int = 0  # 0: as many as `epochs` asks for
    batch_size: int = 32  # pairs that are contrasted with each other, over all processes together
    accumulate: int = 1  # batches whose gradients are averaged for one step
    chunks: int = 1  # parts in which a batch passes the encoders: the same gradients in less memory
    optimizer: str = "adamw"  # adamw, adam (weight decay as a penalty) or sgd
    learning_rate: float = 1e-4  # the highest, after the warm-up
    final_learning_rate: float = 1e-5  # where the cosine ends, and the least that a plateau leads to
    schedule: str = "cosine"  # cosine, constant, or plateau: lowered when the validation loss stops falling
    warmup_epochs: float = 5.0  # linear, up to the learning rate
    warmup_start: float = 0.1  # share of the learning rate that the warm-up starts from
    plateau_patience: int = 5  # epochs without a lower validation loss before a plateau lowers the learning rate
    plateau_factor: float = 0.5  # by what it is multiplied then
    early_stop: int = 0  # epochs without a lower validation loss that end the run; 0: never
    beta1: float = 0.9  # of adamw and adam
    beta2: float = 0.999  # of adamw and adam
    momentum: float = 0.9  # of sgd
    weight_decay: float = 0.02  # on matrices; biases and norms have none
    clip_norm: float = 0.0  # 0: gradients are not clipped
    precision: str = "auto"  # auto: bf16 where the hardware multiplies it fast, else fp32
    gradient_checkpointing: bool = False  # encoders compute activations again instead of keeping them
    compile: bool = False  # torch.compile: minutes at the start, faster steps on a GPU
    sync_batch_norm: bool = False  # batch norm over all processes (GPUs only)
    fsdp: bool = False  # encoders too large for a GPU: their transformer blocks are spread over the processes
    checkpoint_every: int = 200  # steps between checkpoints
    log_every: int = 10  # steps that one line of metrics sums up
    threads: int = 0  # of the CPU; 0: all cores
    loader_threads: int = 1  # that prepare batches ahead of the step; more where reading is slow, as over a network
    data_version: str = ""  # digest of the shard manifest this run was asked to use; empty: whichever is there

    def __post_init__(self) -> None:
        for name in (
            "epochs", "batch_size", "accumulate", "chunks", "learning_rate", "plateau_patience", "checkpoint_every",
            "log_every", "loader_threads",
        ):  # fmt: skip
            if getattr(self, name) <= 0:
                raise TrainingError(f"training option `{name}` is {getattr(self, name)}, but must be above 0")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                said = f"{', '.join(choices[:-1])} or {choices[-1]}"
                raise TrainingError(f"training option `{name}` is {said}, not `{getattr(self, name)}`")
        if not 0 < self.plateau_factor < 1:
            raise TrainingError(
                f"training option `plateau_factor` is {self.plateau_factor}, but must be between 0 and 1"
            )
        if self.fsdp and self.compile:
            raise TrainingError("training options `fsdp` and `compile` exclude each other; switch one of them off")
        if self.batch_size % self.chunks:
            raise TrainingError(
                f"training option `chunks` is {self.chunks}, but must divide the `batch_size` of {self.batch_size}"
            )

    @property
    def keeps_best(self) -> bool:
        """Whether the weights of the lowest validation loss are the run's result, not the last ones."""
        return self.early_stop > 0 or self.schedule == "plateau"

    @classmethod
    def from_dict(cls, options: dict[str, Any], origin: str) -> TrainingConfig:
        """The recipe of the method with `options` over it; `origin` says in an error where they came from."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise TrainingError(f"{origin}: unknown option `{unknown[0]}`; known are {', '.join(sorted(known))}")
        if "method" not in options:
            raise TrainingError(f"{origin}: option `method` is missing")
        return cls(**merged(recipe(options["method"]), options))

    @classmethod
    def load(cls, path: Path) -> TrainingConfig:
        """Read the JSON written by `save`."""
        try:
            options = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise TrainingError(f"{path} does not exist; give the path of a training configuration") from error
        except json.JSONDecodeError as error:
            raise TrainingError(f"{path} is not valid JSON: {error}") from error
        return cls.from_dict(options, str(path))

    def save(self, path: Path) -> None:
        """Write as JSON, atomically."""
        with replacing(path) as partial:
            partial.write_text(json.dumps(asdict(self), indent=1, sort_keys=True), encoding="utf-8")


def preset(method: str, name: str, **overrides: Any) -> TrainingConfig:
    """The preset `configs/<name>/<method>.yaml` with `overrides`; those that are None keep the preset's value.

    `method_config` and `augmentation` are merged key by key, everything else is replaced.
    """
    options = {"method": method, **preset_options(method, name)}
    given = {key: value for key, value in overrides.items() if value is not None}
    return TrainingConfig.from_dict(merged(options, given), f"the preset {name}/{method}.yaml")
