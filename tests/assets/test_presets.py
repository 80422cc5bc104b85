"""The files in `configs/` are run configurations: what they leave out is filled with the demo's, so nothing may be."""

from dataclasses import asdict

import dagster as dg
import pytest
import yaml

from assets.pretrained import VARIANT, pretraining_config
from assets.settings import EvaluationSettings, tasks_with_settings
from models.registry import method_names, settings_class
from pipelines.definitions import defs
from store.presets import FOLDER as PRESETS
from training.config import TrainingConfig

EVALUATION = "evaluation.yaml"
METHODS = sorted(path for path in PRESETS.glob("*/*.yaml") if path.name != EVALUATION)
EVALUATIONS = sorted(PRESETS.glob(f"*/{EVALUATION}"))


@pytest.mark.parametrize("path", METHODS, ids=lambda path: f"{path.parent.name}/{path.stem}")
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
    for name in sorted(set(launched) - {"method_config", VARIANT}):
        assert launched[name] == expected[name], f"{path.name} lacks `{name}`, which the demo sets"
    paper = asdict(settings_class(method)())
    for name, value in launched["method_config"].items():
        assert value == paper[name], f"{path.name} lacks method_config `{name}`, which the demo sets"


@pytest.mark.parametrize("method", method_names())
@pytest.mark.parametrize("path", EVALUATIONS, ids=lambda path: path.parent.name)
def test_an_evaluation_preset_is_a_run_configuration_of_every_evaluation(path, method):
    assert dg.validate_run_config(defs.resolve_job_def(f"evaluate_{method}"), yaml.safe_load(path.read_text()))


def test_the_paper_evaluation_is_what_the_tasks_say_the_papers_do():
    given, demo = (
        yaml.safe_load((PRESETS / name / EVALUATION).read_text())["resources"]["evaluation"]["config"]
        for name in ("paper", "demo")
    )
    paper = {task: asdict(settings()) for task, settings in tasks_with_settings().items()}
    assert {task: given[task] for task in paper} == paper
    assert demo.keys() <= given.keys(), "the demo sets what the papers' evaluation leaves to it"
    assert EvaluationSettings(**given).model_dump().items() >= given.items()
    assert (given["repeats"], given["fractions"], given["simulated_studies"]) == (3, [0.01, 0.1, 1.0], 0)
