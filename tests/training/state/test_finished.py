"""A finished run whose files are damaged: the same command makes them again, bit for bit, or one sentence stops it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from models.run_files import BEST, CARD, LAST, METRICS, ORIGIN, RESULT, TRAINED, UNTRAINED, read_result
from models.saved import load_method
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from store import atomic
from store.errors import DamageError
from store.seals import seal_path, write_sealed_json
from tests.training.conftest import ENTITIES, POSITIONS, SIZE, shard_rows
from training.config import TrainingConfig
from training.errors import TrainingError
from training.loop import train
from training.state.checkpoint import complete_checkpoints
from training.state.finished import is_finished

NETWORK = {
    "image_encoder": "vit/1x32p16", "image_weights": "", "text_encoder": "bert/1x32", "image_stage": 0,
    "frozen_layers": 0, "dimension": 8,
}  # fmt: skip
MADE_AGAIN = (CARD, ORIGIN, RESULT, METRICS)
WEIGHTS = (TRAINED, UNTRAINED, BEST, LAST)
PASSING = ("config.json", "lock")  # written by every start


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_in_silence(path: Path) -> None:
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


DAMAGE = {"truncated": truncate, "emptied": empty, "flipped": flip, "flipped in silence": flip_in_silence}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> TrainingConfig:
    """A run of three epochs that keeps its best weights."""
    folder = tmp_path_factory.mktemp("finished")
    rows = shard_rows(24)
    for index, row in enumerate(rows):
        row["split"] = "validate" if index % 6 == 3 else "train"
    write_shard(pa.Table.from_pylist(rows, schema=shard_schema(SIZE)), folder / "a.parquet")
    write_manifest(folder, [folder / "a.parquet"], ENTITIES, POSITIONS, SIZE, "phantom")
    knowledge = pa.table({name: pa.array([], pa.string()) for name in ("kind", "name", "description")})
    atomic.write_table(knowledge, folder / "knowledge.parquet")
    config = TrainingConfig(
        "convirt", str(folder), str(folder / "knowledge.parquet"), str(folder / "run"), NETWORK, batch_size=8,
        max_steps=7, warmup_epochs=0.0, early_stop=50, checkpoint_every=4, log_every=2, threads=1,
    )  # fmt: skip
    train(config)
    return config


@pytest.mark.parametrize(("patience", "epochs"), [(0, 4), (1, 2), (2, 3)])
def test_a_run_ends_early_where_the_validation_loss_does_not_fall(finished, tmp_path, patience, epochs):
    still = {"learning_rate": 1e-15, "final_learning_rate": 0.0, "weight_decay": 0.0}
    whole = {"max_steps": 0, "epochs": 4.0, "batch_size": 5, "last_batch": "drop"}
    config = replace(finished, output=str(tmp_path / "run"), early_stop=patience, **whole, **still)
    assert train(config)["steps"] == 4 * epochs


@pytest.fixture(scope="module")
def other(finished) -> Path:
    """The folder of a run of a narrower network."""
    config = replace(finished, output=finished.output + "-other", method_config={**NETWORK, "dimension": 4})
    train(config)
    return Path(config.output)


@pytest.fixture
def config(finished, tmp_path) -> TrainingConfig:
    """A copy of the finished run, to be damaged."""
    shutil.copytree(finished.output, tmp_path / "run")
    return replace(finished, output=str(tmp_path / "run"))


def content(output: str) -> dict[str, bytes]:
    """All files of a run, without those that were set aside."""
    files = [path for path in Path(output).rglob("*") if path.is_file() and path.name not in PASSING]
    return {str(path.relative_to(output)): path.read_bytes() for path in files if path.suffix != ".damaged"}


def put(source: Path, target: Path) -> None:
    """A file of another run with its seal in the place of this one's."""
    shutil.copyfile(source, target)
    if seal_path(source).exists():
        shutil.copyfile(seal_path(source), seal_path(target))


def test_a_finished_run_needs_nothing_but_its_files(finished, config):
    before = content(config.output)
    assert not [name for name in before if name.endswith(".npz")]  # tokens tell what reports say
    assert is_finished(Path(config.output))
    result = train(config)
    assert result == read_result(Path(finished.output))
    assert content(config.output) == before == content(finished.output)


@pytest.mark.parametrize("name", [*MADE_AGAIN, *WEIGHTS])
def test_what_is_deleted_is_made_again(config, finished, name):
    (Path(config.output) / name).unlink()
    assert not is_finished(Path(config.output))
    train(config)
    assert content(config.output) == content(finished.output)
    assert is_finished(Path(config.output))


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_set_aside_and_made_again(config, finished, damage, caplog):
    """All at once: they are made again from the last checkpoint."""
    for name in MADE_AGAIN:
        DAMAGE[damage](Path(config.output) / name)
    train(config)
    assert content(config.output) == content(finished.output)
    said = " ".join(record.getMessage() for record in caplog.records)
    assert all(name in said for name in (ORIGIN, RESULT))
    for name in MADE_AGAIN:
        DAMAGE[damage](Path(config.output) / name)
        assert not is_finished(Path(config.output))
        train(config)
        assert content(config.output) == content(finished.output), name


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_weights_that_differ_stop_every_use(config, name, damage):
    path = Path(config.output) / name
    DAMAGE[damage](path)
    before = content(config.output)
    uses = (lambda: train(config), lambda: is_finished(Path(config.output)), lambda: load_method(path.parent, name))
    for use in uses:
        with pytest.raises(
            DamageError, match=rf"{name} differs from what the run recorded of it; restore it"
        ) as caught:
            use()
        assert "\n" not in str(caught.value)
    assert content(config.output) == before  # they are nobody's to overwrite


@pytest.mark.parametrize("name", MADE_AGAIN)
def test_a_file_of_another_run_is_not_taken_for_the_own(config, finished, other, name):
    put(other / name, Path(config.output) / name)
    if name == CARD:
        with pytest.raises(DamageError, match=r"model\.json was changed"):
            load_method(Path(config.output))
    train(config)
    assert content(config.output) == content(finished.output)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_of_another_run_stop_every_use(config, other, name):
    put(other / name, Path(config.output) / name)
    with pytest.raises(DamageError, match="differs from what the run recorded"):
        load_method(Path(config.output), name)
    with pytest.raises(DamageError, match="differs from what the run recorded"):
        train(config)


def test_another_run_is_refused_also_where_the_origin_is_lost(config):
    (Path(config.output) / ORIGIN).unlink()
    with pytest.raises(TrainingError, match="another option `seed`"):
        train(replace(config, seed=5))
    shutil.rmtree(Path(config.output) / "checkpoints")
    with pytest.raises(TrainingError, match="belongs to another run"):
        train(replace(config, seed=5))


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["checkpoint.json", BEST])
def test_a_damaged_checkpoint_makes_no_weights(config, finished, name, damage):
    """The one before it does."""
    (Path(config.output) / TRAINED).unlink()
    DAMAGE[damage](complete_checkpoints(Path(config.output))[-1] / name)
    train(config)
    assert (Path(config.output) / TRAINED).read_bytes() == (Path(finished.output) / TRAINED).read_bytes()
    assert read_result(Path(config.output))["steps"] == 7


@pytest.mark.parametrize("lost", ["damaged", "of another run", "deleted"])
def test_without_a_checkpoint_the_training_is_repeated(config, finished, other, lost):
    for folder in complete_checkpoints(Path(config.output)):
        if lost == "damaged":
            empty(folder / "state.pt")
        else:
            shutil.rmtree(folder)
            if lost == "of another run":
                shutil.copytree(other / "checkpoints" / folder.name, folder)
    (Path(config.output) / TRAINED).unlink()
    train(config)
    assert (Path(config.output) / TRAINED).read_bytes() == (Path(finished.output) / TRAINED).read_bytes()
    assert is_finished(Path(config.output))


def test_weights_that_come_out_otherwise_are_not_taken(config):
    """As on other hardware; here the result records others."""
    output = Path(config.output)
    write_sealed_json(output / RESULT, {**read_result(output), "checkpoint_digest": "0" * 64})
    (output / TRAINED).unlink()
    with pytest.raises(TrainingError, match="was lost, and what the training made in its place is not the same"):
        train(config)
    with pytest.raises(DamageError, match="differs from what the run recorded"):
        load_method(output)


class KilledError(BaseException):
    pass


def test_a_kill_between_two_files_leaves_a_run_that_is_not_finished_or_whole(config, finished, monkeypatch):
    """Of the end of a run: all that is written after its last checkpoint."""
    whole, output = content(finished.output), Path(config.output)
    replace_file, written = os.replace, 0

    def kill_after(left: int):
        def replace_or_die(source, target):
            nonlocal left, written
            if not left:
                raise KilledError
            left -= 1
            written += 1
            replace_file(source, target)

        return replace_or_die

    for left in range(100):
        for path in [path for path in output.iterdir() if path.is_file()]:
            path.unlink()
        monkeypatch.setattr(os, "replace", kill_after(left))
        try:
            train(config)
        except KilledError:
            ended = False
        else:
            ended = True
        monkeypatch.setattr(os, "replace", replace_file)
        assert is_finished(output) <= (content(config.output) == whole)
        if ended:
            break
        train(config)
        assert content(config.output) == whole, left
    assert ended
    assert left > 10
