"""Configurations: presets load, unknown options are named, JSON round trips."""

from pathlib import Path

import pytest

from models.registry import build_method, method_names
from training.config import PRESETS, TrainingConfig, TrainingError, preset


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*/*.yaml")), ids=str)
def test_every_preset_loads(path: Path):
    config = preset(path.stem, path.parent.name)
    assert config.method in method_names()


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
        ({"method": "medklip", "precision": "half"}, "auto, bf16 or fp32"),
        ({"method": "medklip", "batch_size": 0}, "`batch_size` is 0"),
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
        build_method("clip", {}, [], 32)
