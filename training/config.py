"""Everything a training run depends on; written as JSON for the child process and kept beside its weights."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from imaging.dicom.views import KINDS
from models.errors import ModelError
from models.registry import recipe
from store.atomic import replacing
from store.errors import SettingError
from store.remote.mirror import is_address, local_path
from store.settings import check_bounds, check_types, setting
from training.errors import TrainingError
from training.recipes import merge_settings, preset_options

MILESTONES = re.compile(r"(\d+(\.\d+)?(\+\d+(\.\d+)?)*)?")
RENAMED = {"chunks": "micro_batches"}  # options by their former names
PLACES = ("shards", "knowledge", "output")  # may be addresses in a home on object storage: s3://bucket/prefix/...


@dataclass(frozen=True)
class TrainingConfig:
    """One run. The recipe of its method (`TRAINING` in the method's config) takes the place of these defaults."""

    method: str
    shards: str = setting("", "Folder of the shards, with their manifest.json.")
    knowledge: str = setting("", "File of the knowledge table (Parquet); empty for methods that read none.")
    output: str = setting("", "Folder of this run.")
    method_config: dict[str, Any] = setting({}, "Settings of the method, over its defaults.")
    augmentation: dict[str, Any] = setting({}, "Settings of the augmentation, over the defaults of imaging/augment.py.")
    views: str = setting(
        "frontal",
        "Kinds of views that are trained on, joined by +: frontal, lateral and unknown, of those that the inventory "
        "has.",
    )
    pair: str = setting(
        "image",
        "What an epoch goes through: each `image`, or each `study`, with one of its images at random.",
        choices=("image", "study"),
    )
    input_size: int = setting(
        0, "Side in pixels of the images that the network sees; 0 for that of the shards.", least=0
    )
    seed: int = setting(0, "Seed of weights, shuffling, augmentation and sampling.")
    epochs: float = setting(
        60.0, "Passes over the training split; 0 for none: the network is evaluated as it starts.", least=0
    )
    max_steps: int = setting(0, "Number of steps, in place of `epochs`; 0 for as many as those take.", least=0)
    batch_size: int = setting(32, "Pairs that are contrasted with each other, over all processes together.", above=0)
    last_batch: str = setting(
        "across",
        "Where an epoch does not end with a batch: `across` begins the next epoch within it, `drop` leaves its pairs "
        "out of the epoch, `keep` takes a shorter batch.",
        choices=("across", "drop", "keep"),
    )
    accumulate: int = setting(1, "Batches whose gradients are averaged for one step.", above=0)
    micro_batches: int = setting(
        1, "Parts in which a batch passes the encoders (GradCache): the same gradients in less memory.", above=0
    )
    weights: dict[str, Any] = setting(
        {},
        "Of a pool, shares of its cohorts in the pairs, such as {mimic_cxr: 3, open_i: 1}; empty: every image once in "
        "an epoch.",
    )
    optimizer: str = setting(
        "adamw", "`adamw`, `adam` (weight decay as a penalty) or `sgd`.", choices=("adamw", "adam", "sgd")
    )
    learning_rate: float = setting(1e-4, "The highest learning rate, after the warm-up.", above=0)
    final_learning_rate: float = setting(
        1e-5, "The learning rate at the end of the cosine schedule, and the lowest of the plateau schedule.", least=0
    )
    schedule: str = setting(
        "cosine",
        "`cosine`, `constant`, `plateau`: lowered when the validation loss stops falling, `staircase`: that of "
        "MedKLIP's code, or `milestones`: lowered at given epochs.",
        choices=("cosine", "constant", "plateau", "staircase", "milestones"),
    )
    warmup_epochs: float = setting(5.0, "Epochs in which the learning rate rises linearly.", least=0)
    warmup_start: float = setting(0.1, "Learning rate at the start of the warm-up, as a share of the highest.", least=0)
    plateau_patience: int = setting(
        5,
        "Epochs without a lower validation loss that the plateau schedule bears; the next one lowers the rate.",
        above=0,
    )
    plateau_factor: float = setting(
        0.5, "Factor by which the plateau schedule lowers the learning rate.", above=0, below=1
    )
    stair_steps: int = setting(100, "Steps of a stair of the staircase schedule.", above=0)
    stairs: int = setting(5, "Stairs of the staircase schedule from `warmup_start` to the highest rate.", above=0)
    milestones: str = setting("", "Epochs at which the milestones schedule lowers the rate, joined by +, as `120+160`.")
    milestone_factor: float = setting(
        0.1, "Factor by which the milestones schedule lowers the rate each time.", above=0, below=1
    )
    early_stop: int = setting(0, "Epochs without a lower validation loss that end the run; 0 for never.", least=0)
    beta1: float = setting(0.9, "First moment's decay of `adamw` and `adam`.", least=0, below=1)
    beta2: float = setting(0.999, "Second moment's decay of `adamw` and `adam`.", least=0, below=1)
    momentum: float = setting(0.9, "Momentum of `sgd`.", least=0)
    weight_decay: float = setting(0.02, "Weight decay.", least=0)
    decay: str = setting(
        "matrices",
        "What has it: `matrices`, which leaves out biases and norms, or `all` parameters.",
        choices=("matrices", "all"),
    )
    clip_norm: float = setting(0.0, "Norm to which gradients are clipped; 0 for no clipping.", least=0)
    precision: str = setting(
        "auto",
        "`bf16`, `fp32`, or `auto`: bf16 where the hardware multiplies it fast.",
        choices=("auto", "bf16", "fp32"),
    )
    gradient_checkpointing: bool = setting(False, "Encoders recompute activations in the backward pass: less memory.")
    compile: bool = setting(False, "torch.compile: minutes at the start, faster steps on a GPU.")
    sync_batch_norm: bool = setting(True, "Batch norm over the pairs of all processes, not over those of each.")
    fsdp: bool = setting(False, "Spread the transformer blocks of large encoders over the processes.")
    checkpoint_every: int = setting(200, "Steps between checkpoints.", above=0)
    log_every: int = setting(10, "Steps that one line of metrics sums up.", above=0)
    threads: int = setting(0, "Threads of the CPU; 0 for one per core.", least=0)
    loader_threads: int = setting(
        1,
        "Threads that prepare batches ahead of the step; take more where reading is slow, as over a network.",
        above=0,
    )
    peer_timeout: float = setting(
        600.0,
        "Seconds without an answer of another process of the run, as when its host is gone, after which a process "
        "gives it up; longer than writing a checkpoint takes.",
    )
    data_version: str = setting(
        "", "Data version that the shards must have (digest of their manifest); empty for whichever they have."
    )

    def __post_init__(self) -> None:
        try:
            check_types(self)
            check_bounds(self)
        except SettingError as error:
            raise TrainingError(f"training option {error}") from None
        if not self.views or (unknown := set(self.view_kinds) - set(KINDS)):
            named = f"names `{min(unknown)}`" if self.views else "is empty"
            raise TrainingError(f"training option `views` {named}; give some of {', '.join(KINDS)}, joined by +")
        if not MILESTONES.fullmatch(self.milestones):
            raise TrainingError(
                f"training option `milestones` is `{self.milestones}`; give epochs joined by +, such as 120+160"
            )
        for cohort, weight in self.weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
                raise TrainingError(
                    f"training option `weights` gives {cohort} the weight {weight}, but weights are numbers above 0; "
                    "leave a cohort out of the pool to train without it"
                )
        if self.fsdp and self.compile:
            raise TrainingError("training options `fsdp` and `compile` exclude each other; switch one of them off")
        if self.batch_size % self.micro_batches:
            raise TrainingError(
                f"training option `micro_batches` is {self.micro_batches}, but must divide the `batch_size` of "
                f"{self.batch_size}"
            )

    def expect_division(self, processes: int) -> None:
        """Raise TrainingError where so many processes cannot divide a batch evenly."""
        if self.batch_size % (processes * self.micro_batches):
            raise TrainingError(
                f"training option `batch_size` is {self.batch_size}, but must be a multiple of processes times "
                f"micro_batches, {processes} x {self.micro_batches}"
            )

    @property
    def milestone_epochs(self) -> list[float]:
        """`milestones` as numbers."""
        return [float(epoch) for epoch in self.milestones.split("+") if epoch]

    @property
    def view_kinds(self) -> tuple[str, ...]:
        """`views` as names, of imaging.dicom.views.KINDS."""
        return tuple(self.views.split("+"))

    @property
    def keeps_best(self) -> bool:
        """Whether the weights of the lowest validation loss are the run's result, not the last ones."""
        return self.early_stop > 0 or self.schedule == "plateau"

    @classmethod
    def from_dict(cls, options: dict[str, Any], origin: str) -> TrainingConfig:
        """The recipe of the method with `options` over it; `origin` says in an error where they came from."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(options) - known)
        if unknown and unknown[0] in RENAMED:
            raise TrainingError(f"{origin}: option `{unknown[0]}` is called `{RENAMED[unknown[0]]}` now; rename it")
        if unknown:
            raise TrainingError(f"{origin}: unknown option `{unknown[0]}`; known are {', '.join(sorted(known))}")
        if "method" not in options:
            raise TrainingError(f"{origin}: option `method` is missing")
        try:
            base = recipe(options["method"])
        except ModelError as error:
            raise TrainingError(f"{origin}: {error}") from None
        places = {name: local_path(options[name]) for name in PLACES if isinstance(options.get(name), str)}
        if away := sorted(name for name in places if is_address(places[name])):
            raise TrainingError(f"{origin}: `{away[0]}` is no address in the home that RADALIGN_HOME names; correct it")
        return cls(**merge_settings(base, {**options, **places}))

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
    return TrainingConfig.from_dict(merge_settings(options, given), f"the preset {name}/{method}.yaml")
