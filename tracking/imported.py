"""Released files of weights as runs of a home, which are evaluated like those that were trained here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from models.encoders.local_files import ENCODER, named_encoders
from models.errors import ModelError
from models.registry import evaluated_modules
from models.released.network import ReleasedNetwork
from models.released.opening import convert_file, find_format, make_network
from models.run_files import IMPORTED, METRICS, ORIGIN, TRAINED, UNTRAINED
from models.saved import ModelCard
from report_parsing.knowledge.base import KnowledgeBase
from store.atomic import replacing
from store.code import code_version
from store.digests import file_digest, fingerprint
from store.seals import write_sealed_json
from tracking.runs import Home, TrainedRun, known_runs, remember
from tracking.tracker import RunIdentity, Tracker, open_run
from training.state.finished import is_finished, write_result

VARIANT = "released"  # how results mark such a run: medklip:released, or with a name medklip:released-NAME
TEXTS = "text"  # the folder of the text encoder, in that of the run
VOCABULARY = ("*.json", "*.txt")  # of a text encoder's folder: all but its weights
SEED = 0  # of the untrained network of the same form
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # buffers that a network learns

Log = Callable[[str], object]


def import_released(
    workspace: Home, path: Path, log: Log, released: str = "", texts: Path | None = None, name: str = "", size: int = 0
) -> TrainedRun:
    """Make a released file a run of the home, and the latest of its method on the workspace's dataset.

    `released` is the format; empty: it is recognised. `texts` is the folder of the text encoder, where the file lacks
    what is in it. `name` is added to what results call the run: medklip:released-NAME. `size` is the
    side of its images in pixels, where the file's format needs it. The same file is imported once.

    Raises:
        ModelError: the file cannot be used, in one sentence.
    """
    if not path.is_file():
        raise ModelError(f"There is no file {path}: name a file of weights.")
    unseen = KnowledgeBase.default().unseen_table()["description"].to_pylist()
    chosen, converted = convert_file(path, released, texts, size, unseen)
    source = {"file": path.name, "digest": file_digest(path), "format": chosen}
    code = code_version(*evaluated_modules(chosen))
    home, run = workspace.home_path(), fingerprint(source, converted.settings, code)
    output = home / "checkpoints" / chosen / run
    if not is_finished(output, log):
        log(f"Importing {path.name} as {chosen}.")
        settings = _keep_texts(converted.settings, texts, output)
        network = make_network(chosen, replace(converted, settings=settings), path)
        _write(output, chosen, network, settings, source)
    for note in (*converted.notes, find_format(chosen).LICENCE):
        log(note)
    variant = "-".join(filter(None, (VARIANT, name)))
    tracker = _record(workspace, output, chosen, variant, source, log)
    imported = TrainedRun.of_folder(output, home, tracker.run_id, variant)
    tracker.register(imported, output, workspace.cohort_name())
    _say_what_gives_way(workspace, imported, log)
    remember(workspace, imported)
    return imported


def _say_what_gives_way(workspace: Home, imported: TrainedRun, log: Log) -> None:
    """Name the run of other weights that results called the same so far."""
    for known in known_runs(workspace, imported.method):
        if known.name == imported.name and known.checkpoint_digest != imported.checkpoint_digest:
            log(
                f"{imported.name} was the run in {workspace.home_path() / known.output} so far; from now on results "
                "and tables show this one. `--name` keeps both."
            )


def _keep_texts(settings: Mapping[str, Any], texts: Path | None, output: Path) -> dict[str, Any]:
    """The settings with the vocabulary of the text encoder beside the weights, where they name its folder."""
    if texts is None or str(texts) not in settings.values():
        return dict(settings)
    kept = output / TEXTS
    kept.mkdir(parents=True, exist_ok=True)
    for pattern in VOCABULARY:
        for file in sorted(texts.glob(pattern)):
            with replacing(kept / file.name) as partial:
                shutil.copyfile(file, partial)
    if not (kept / ENCODER).is_file():
        raise ModelError(f"{texts} holds no {ENCODER}, so it is no folder of a text encoder")
    return {key: str(kept) if value == str(texts) else value for key, value in settings.items()}


def _write(
    output: Path, chosen: str, network: ReleasedNetwork, settings: dict[str, Any], source: Mapping[str, str]
) -> None:
    """The files of a run; the result last, because it says that the others are whole."""
    output.mkdir(parents=True, exist_ok=True)
    kept = output / TEXTS
    portable = {key: TEXTS if value == str(kept) else value for key, value in settings.items()}
    ModelCard(
        chosen, portable, [], network.size, encoders=named_encoders(settings), released=chosen
    ).save(output)  # fmt: skip
    _save(network.state_dict(), output / TRAINED)
    _save(_untrained(chosen, settings, network), output / UNTRAINED)
    origin = {"settings": {"method": chosen, "seed": SEED}, "data_version": "", IMPORTED: dict(source)}
    write_sealed_json(output / ORIGIN, origin)
    with replacing(output / METRICS) as partial:
        partial.touch()
    write_result(output, {"steps": 0, "seconds": 0.0, IMPORTED: dict(source)})


def _untrained(chosen: str, settings: dict[str, Any], network: ReleasedNetwork) -> dict[str, Tensor]:
    """The weights of a network of the same form before any training; what it is not taught, such as texts, is kept."""
    torch.manual_seed(SEED)
    fresh = find_format(chosen).build(settings)
    learned = {name for name, _ in fresh.named_parameters()}
    kept = network.state_dict()
    return {
        name: tensor if name in learned or name.endswith(STATISTICS) else kept[name]
        for name, tensor in fresh.state_dict().items()
    }


def _save(state: Mapping[str, Tensor], path: Path) -> None:
    with replacing(path) as partial:
        save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, partial)


def _record(
    workspace: Home, output: Path, chosen: str, name: str, source: Mapping[str, str], log: Log
) -> Tracker:  # fmt: skip
    """The run in MLflow."""
    cohort = workspace.cohort_name()
    identity = RunIdentity(
        fingerprint=output.name,
        name=f"{chosen}:{name} {cohort} imported",
        parameters={
            "setting.method": chosen,
            "setting.cohort": cohort,
            **{f"imported.{key}": value for key, value in source.items()},
        },
        tags={"radalign.method": chosen, "radalign.origin": IMPORTED},
        dataset=cohort,
        dataset_source=str(workspace.folder("shards")),
        data_version="",
    )
    tracker = open_run(workspace.home_path(), identity, log)
    tracker.end("FINISHED")
    return tracker
