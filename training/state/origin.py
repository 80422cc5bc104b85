"""What made a checkpoint: settings, data, code and torch. A run goes on only with what it began with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from models.encoders.local_files import named_files
from shards.pool import load_manifest
from store.digests import fingerprint, known_digest
from store.remote import mirror
from store.seals import expect_intact, is_sealed
from training.config import TrainingConfig
from training.errors import TrainingError
from training.state.code import training_code

# Settings that say where things lie and how often something is written: the weights do not depend on them.
# The data version and the digest of the knowledge stand for the first two and the last.
NEUTRAL = (
    "shards",
    "knowledge",
    "output",
    "log_every",
    "checkpoint_every",
    "loader_threads",
    "data_version",
    "peer_timeout",
)


@dataclass(frozen=True)
class Origin:
    """Everything that a run's weights follow from; written into every checkpoint."""

    settings: dict[str, Any]
    data_version: str
    knowledge: str  # digest of the table
    files: dict[str, str]  # digests of what settings of the method name, such as weights to start from
    code_version: str
    torch_version: str

    @classmethod
    def of(cls, config: TrainingConfig) -> Origin:
        """What a run of `config` would be made by. Of a home on object storage, what it reads is brought before."""
        mirror.refresh(Path(config.shards))
        mirror.bring(Path(config.shards), *([Path(config.knowledge)] if config.knowledge else []))
        return cls(
            settings={name: value for name, value in asdict(config).items() if name not in NEUTRAL},
            data_version=load_manifest(Path(config.shards)).digest,
            knowledge=_knowledge_digest(Path(config.knowledge)) if config.knowledge else "",
            files=named_files(config.method_config),
            code_version=training_code(config.method),
            torch_version=torch.__version__,
        )

    def as_json(self) -> str:
        """One line that `expect` compares with."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def fingerprint(self) -> str:
        """What tells it from any other."""
        return fingerprint(asdict(self))

    def expect(self, found: str, folder: Path) -> None:
        """Raise TrainingError unless `found`, from a file in `folder`, is this origin."""
        different = difference(json.loads(found), json.loads(self.as_json()))
        if different:
            name, theirs, ours = different
            raise TrainingError(
                f"{folder} belongs to a run with another {name} ({theirs!r} there, {ours!r} now); choose another "
                "output folder or delete this one"
            )


def difference(first: dict[str, Any], second: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """What two origins, as their JSON, have first that differs: its name in a sentence, and the value of each."""
    one, other = _flat(dict(first)), _flat(dict(second))
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            return name, one.get(name), other.get(name)
    return None


def _knowledge_digest(path: Path) -> str:
    """DamageError where the table has a seal that does not fit; one that a user brings has none."""
    return known_digest(
        expect_intact(path, "give the same command again: it is made again.") if is_sealed(path) else path
    )


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    """Names as a sentence says them: `option `seed``, `content of what `image_weights` names`, `code version`."""
    settings = {f"option `{name}`": value for name, value in content.pop("settings", {}).items()}
    files = {f"content of what `{name}` names": value for name, value in content.pop("files", {}).items()}
    return {**settings, **files, **{name.replace("_", " "): value for name, value in content.items()}}
