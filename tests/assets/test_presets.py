"""The files in `configs/` are run configurations: what they leave out is filled with the demo's, so nothing may be."""

from dataclasses import asdict

import dagster as dg
import pytest
import yaml

from assets.documented import documented_config
from assets.method_config import pretraining_config
from models.registry import method_names
from pipelines.definitions import defs
from training.config import TrainingConfig
from training.recipes import PRESETS


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_preset_is_a_run_configuration_of_its_job(path):
    config = yaml.safe_load(path.read_text())
    (step,) = [step for step in config["ops"] if step.startswith("pretrained__")]
    job = defs.resolve_job_def(f"pretrain_{step.removeprefix('pretrained__')}")
    assert dg.validate_run_config(job, config)


@pytest.mark.parametrize("method", method_names())
def test_the_paper_preset_is_what_the_code_says_the_paper_does(method):
    path = PRESETS / "paper" / f"{method}.yaml"
    given = yaml.safe_load(path.read_text())["ops"][f"pretrained__{method}"]["config"]
    launched = pretraining_config(method)(**given).model_dump()
    expected = asdict(TrainingConfig.from_dict({"method": method}, "the recipe"))
    for name in sorted(set(launched) - {"method_config"}):
        assert launched[name] == expected[name], f"{path.name} lacks `{name}`, which the demo sets"
    paper = documented_config(f"models/methods/{method}.py")().model_dump()
    for name, value in launched["method_config"].items():
        assert value == paper[name], f"{path.name} lacks method_config `{name}`, which the demo sets"
