"""Configurations: presets load, unknown options are named, JSON round trips."""

from pathlib import Path

import pytest
import yaml

from models import methods, registry
from models.registry import build_method, method_names
from store import presets
from store.presets import FOLDER as PRESETS
from store.settings import described_settings
from training import recipes
from training.config import TrainingConfig, TrainingError, preset

OF_METHODS = [
    path
    for path in sorted(PRESETS.glob("*/*.yaml"))
    if path.stem not in ("evaluation", "ingest") and path.parent.name != "cluster"
]


@pytest.mark.parametrize("path", OF_METHODS, ids=str)
def test_every_preset_loads(path: Path):
    ops = yaml.safe_load(path.read_text())["ops"]
    (method,) = (name.removeprefix("pretrained__") for name in ops if name.startswith("pretrained__"))
    assert method in method_names()
    assert TrainingConfig.from_dict({"method": method, **ops[f"pretrained__{method}"]["config"]}, str(path))


def test_overrides_replace_and_merge():
    config = preset("medklip", "demo", seed=3, epochs=None, method_config={"width": 32})
    assert config.seed == 3
    assert config.epochs == preset("medklip", "demo").epochs
    assert config.method_config == {**preset("medklip", "demo").method_config, "width": 32}


def test_a_configuration_survives_its_file(tmp_path):
    config = preset("medklip", "demo", seed=7)
    config.save(tmp_path / "config.json")
    assert TrainingConfig.load(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "medklip", "learning_rte": 1}, "unknown option `learning_rte`"),
        ({"seed": 1}, "`method` is missing"),
        ({"method": "medklip", "precision": "half"}, "must be one of auto, bf16, fp32"),
        ({"method": "medklip", "batch_size": 0}, "`batch_size` is 0"),
        ({"method": "medklip", "optimizer": "lion"}, "`optimizer` is lion, but must be one of adamw, adam, sgd"),
        (
            {"method": "medklip", "schedule": "linear"},
            "must be one of cosine, constant, plateau, staircase, milestones",
        ),
        ({"method": "medklip", "plateau_factor": 1.0}, "must be below 1"),
        ({"method": "medklip", "learning_rate": "1e-4"}, "`learning_rate` is '1e-4', but must be a number"),
        ({"method": "medklip", "batch_size": 8.0}, "`batch_size` is 8.0, but must be a whole number"),
        ({"method": "medklip", "epochs": float("nan")}, "`epochs` is nan, but must be a number"),
        ({"method": "medklip", "weight_decay": -0.1}, "`weight_decay` is -0.1, but must be at least 0"),
        ({"method": "medklip", "milestones": "2,3"}, "give epochs joined by [+]"),
        ({"method": "medklip", "batch_size": 32, "micro_batches": 5}, "`micro_batches` is 5, but must divide"),
        ({"method": "medklip", "chunks": 2}, "`chunks` is called `micro_batches` now"),
        ({"method": "bert"}, "unknown method `bert`: choose one of albef"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(TrainingError, match=message):
        TrainingConfig.from_dict(options, "here")


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(TrainingError, match="demo"):
        preset("medklip", "huge")


def test_an_unknown_method_names_the_known_ones():
    with pytest.raises(ValueError, match="medklip"):
        build_method("bert", {}, [], 32)


def test_the_recipe_of_a_method_is_below_the_options(tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text(
        'TRAINING = {"optimizer": "sgd", "epochs": 3, "augmentation": {"rotation": 10.0, "contrast": 0.2}}\n'
    )
    (tmp_path / "plain.py").write_text("")
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    monkeypatch.setattr(methods, "__path__", [str(tmp_path)])
    config = TrainingConfig.from_dict({"method": "toy", "epochs": 5, "augmentation": {"contrast": 0.0}}, "here")
    assert (config.optimizer, config.epochs) == ("sgd", 5)
    assert config.augmentation == {"rotation": 10.0, "contrast": 0.0}
    assert TrainingConfig.from_dict({"method": "plain"}, "here") == TrainingConfig("plain")


def test_without_a_folder_of_presets_it_is_said_where_they_lie(tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "FOLDER", tmp_path / "configs")
    presets.read_preset.cache_clear()
    with pytest.raises(TrainingError, match="presets lie in configs/ of a checkout"):
        recipes.preset_options("medklip", "demo")


@pytest.mark.parametrize("item", list(described_settings(TrainingConfig)), ids=lambda item: item[0])
def test_every_option_is_described(item):
    name, _, _, description = item
    assert name == "method" or description.endswith(".")
