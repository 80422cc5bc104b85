"""Runs and checkpoints are scored alone and together."""

import numpy as np
import pytest
import torch

from evaluation.learning import ensemble
from models.registry import build_method
from models.saved import TRAINED, ModelCard
from shards.reader import ShardData, Triplets
from training.state.checkpoint import save_weights

SMALL = {
    "weights": "", "vision_layers": 1, "vision_width": 16, "vision_heads": 1, "patch": 8, "text_layers": 1,
    "text_width": 16, "text_heads": 1, "text_tokenizer": "all-MiniLM-L6-v2", "embedding": 8,
}  # fmt: skip


def images_of(seed: int) -> ShardData:
    rng = np.random.default_rng(seed)
    names = np.array([f"{row}" for row in range(30)], dtype=object)
    none = Triplets(*(np.zeros(0, np.int64) for _ in Triplets._fields))
    labels = {name: rng.integers(-1, 2, 30).astype(np.float32) for name in ("edema", "effusion")}
    labels["never"] = np.zeros(30, np.float32)
    pixels, sizes = rng.integers(0, 256, (30, 16, 16), dtype=np.uint8), np.full(30, 16)
    return ShardData(names, names, names, names, names, pixels, sizes, sizes, [], [], none, labels)


class Shards:
    def __init__(self, folder) -> None:
        pass

    def read(self, split):
        return images_of({"validate": 1, "test": 2}[split])


@pytest.fixture
def runs(tmp_path):
    """A run and another one's checkpoint."""
    folders = [tmp_path / "first", tmp_path / "second" / "checkpoints" / "step-00000005"]
    for seed, folder in enumerate(folders):
        folder.mkdir(parents=True)
        torch.manual_seed(seed)
        ModelCard("chexzero", SMALL, [], 16).save(tmp_path / folder.relative_to(tmp_path).parts[0])
        save_weights(build_method("chexzero", SMALL, [], 16), folder / TRAINED)
    return folders


def test_every_network_and_all_together(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ensemble, "ShardReader", Shards)
    assert ensemble.main([str(tmp_path), *map(str, runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [*map(str, runs), "together"]
    assert all("auroc 0." in line and "mcc" in line for line in lines)
    assert len({line.split("\t", 1)[1] for line in lines}) == 3


def test_together_is_the_mean_of_scores(runs):
    members = [ensemble.load_member(folder) for folder in runs]
    images = torch.from_numpy(images_of(2).pixels)[:, None]
    with torch.no_grad():
        alone = [member.zero_shot(images, ["edema"]).scores for member in members]
        together = ensemble.Ensemble(members).zero_shot(images, ["edema"]).scores
    torch.testing.assert_close(together, (alone[0] + alone[1]) / 2)
    assert not torch.equal(*alone)


def test_a_run_that_is_not_there_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ensemble, "ShardReader", Shards)
    assert ensemble.main([str(tmp_path), str(tmp_path / "nowhere")]) == 1
    assert "does not exist; train the run" in capsys.readouterr().err
