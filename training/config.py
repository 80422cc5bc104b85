"""Everything a training run depends on; written as JSON for the child process and kept beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from shards.atomic import replacing

PRESETS = Path(__file__).resolve().parents[1] / "configs"


class TrainingError(Exception):
    """A run cannot go on; the message is one sentence for the user."""


@dataclass(frozen=True)
class TrainingConfig:
    """One run. The defaults are MedKLIP's (AdamW, batch 32, 60 epochs of which 5 warm up, cosine to 1e-5)."""

    method: str
    shards: str = ""  # folder with manifest.json
    knowledge: str = ""  # the knowledge table, Parquet
    output: str = ""  # folder of this run
    method_config: dict[str, Any] = field(default_factory=dict)  # over the defaults of the method
    augmentation: dict[str, Any] = field(default_factory=dict)  # over the defaults of imaging.augment
    seed: int = 0  # of weights, shuffling, augmentation and sampling
    epochs: float = 60.0  # passes over the training split
    max_steps: int = 0  # 0: as many as `epochs` asks for
    batch_size: int = 32  # pairs per step
    learning_rate: float = 1e-4  # the highest, after the warm-up
    final_learning_rate: float = 1e-5  # where the cosine ends
    weight_decay: float = 0.02  # on matrices; biases and norms have none
    warmup_epochs: float = 5.0  # from a tenth of the learning rate
    clip_norm: float = 0.0  # 0: gradients are not clipped
    precision: str = "auto"  # auto: bf16 where the hardware multiplies it fast, else fp32
    checkpoint_every: int = 200  # steps between checkpoints
    log_every: int = 10  # steps that one line of metrics sums up
    threads: int = 0  # of the CPU; 0: all cores
    data_version: str = ""  # digest of the shard manifest this run was asked to use; empty: whichever is there

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "checkpoint_every", "log_every"):
            if getattr(self, name) <= 0:
                raise TrainingError(f"training option `{name}` is {getattr(self, name)}, but must be above 0")
        if self.precision not in ("auto", "bf16", "fp32"):
            raise TrainingError(f"training option `precision` is auto, bf16 or fp32, not `{self.precision}`")

    @classmethod
    def from_dict(cls, options: dict[str, Any], origin: str) -> TrainingConfig:
        """Check the names of the options; `origin` says in an error where they came from."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise TrainingError(f"{origin}: unknown option `{unknown[0]}`; known are {', '.join(sorted(known))}")
        if "method" not in options:
            raise TrainingError(f"{origin}: option `method` is missing")
        return cls(**options)

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
    path = PRESETS / name / f"{method}.yaml"
    if not path.exists():
        known = sorted(item.parent.name for item in PRESETS.glob(f"*/{method}.yaml"))
        raise TrainingError(f"there is no preset `{name}` of {method}; choose one of {', '.join(known)}")
    options = {"method": method, **yaml.safe_load(path.read_text(encoding="utf-8"))}
    config = TrainingConfig.from_dict(options, str(path))
    given = {key: value for key, value in overrides.items() if value is not None}
    for key in ("method_config", "augmentation"):
        if key in given:
            given[key] = {**getattr(config, key), **given[key]}
    return replace(config, **given)
