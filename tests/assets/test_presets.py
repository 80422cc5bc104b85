"""Presets give what nobody gave, and their files in `configs/` are run configurations that name them."""

from dataclasses import asdict

import dagster as dg
import pytest
import yaml

from assets.networks.pretrained import pretraining_config
from assets.settings.evaluation import FRACTIONS_TAG, EvaluationSettings, chosen_evaluation, tasks_with_settings
from assets.settings.presets import chosen_training, image_presets
from cohorts.phantom.marker import mark
from ingestion.workspace import Workspace
from models.registry import method_names, recipe, settings_class
from pipelines.definitions import defs
from pipelines.identity import workspace_of
from store.presets import FOLDER, PRESETS, PresetError
from training.config import TrainingConfig
from training.recipes import merge_settings

EVALUATION = "evaluation.yaml"
CLUSTER = FOLDER / "cluster"  # beside configurations of trainings it has those of other programs
FILES = sorted(
    path
    for path in FOLDER.rglob("*.yaml")
    if path.name not in (EVALUATION, "ingest.yaml")
    and (CLUSTER not in path.parents or path.name.startswith("pretrain_"))
)
METHODS = [path for path in FILES if path.relative_to(FOLDER).parts[0] in PRESETS]
EVALUATIONS = sorted(FOLDER.glob(f"*/{EVALUATION}"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_a_preset_is_a_run_configuration_of_its_job(path):
    config = yaml.safe_load(path.read_text())
    (step,) = [step for step in config["ops"] if step.startswith("pretrained__")]
    job = defs.resolve_job_def(f"pretrain_{step.removeprefix('pretrained__')}")
    assert dg.validate_run_config(job, config)


@pytest.mark.parametrize("method", method_names())
def test_the_paper_preset_is_what_the_code_says_the_paper_does(method):
    launched = chosen_training(method, pretraining_config(method)(), "paper")
    expected = asdict(TrainingConfig.from_dict({"method": method}, "the recipe"))
    for name in sorted(set(launched) - {"method_config"}):
        assert launched[name] == expected[name], name
    assert launched["method_config"] == {**asdict(settings_class(method)()), **expected["method_config"]}


@pytest.mark.parametrize("name", ["medklip", "mgca"])
def test_what_a_file_says_of_the_code_are_settings(name):
    """The indented lines of its first comment are laid over it, and change all that they name."""
    path = FOLDER / "paper" / f"{name}.yaml"
    lines = [line[4:] for line in path.read_text().splitlines() if line.startswith("#   ")]
    given = yaml.safe_load(f"{{{' '.join(lines)}}}")
    paper = yaml.safe_load(path.read_text())["ops"][f"pretrained__{name}"]["config"]
    settings = merge_settings(merge_settings(recipe(name), paper), given)
    TrainingConfig.from_dict({"method": name, **settings}, path.name)
    own = settings_class(name)(**settings["method_config"])
    before = asdict(settings_class(name)(**{**recipe(name)["method_config"], **paper["method_config"]}))
    for key, value in given["method_config"].items():
        assert getattr(own, key) == value
        assert before[key] != value, key


@pytest.mark.parametrize("path", METHODS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_a_file_of_a_preset_gives_what_the_preset_gives(path, monkeypatch):
    """Whether it is named as the preset or given as a run config."""
    name = path.relative_to(FOLDER).parts[0]
    content = yaml.safe_load(path.read_text())
    (step,) = [step for step in content["ops"] if step.startswith("pretrained__")]
    method = step.removeprefix("pretrained__")
    monkeypatch.delenv("RADALIGN_PRESET")
    place = workspace_of(content) if name != "demo" else Workspace(cohort="phantom")
    assert place.preset_name() == name
    given = chosen_training(method, pretraining_config(method)(**content["ops"][step]["config"]), place.preset_name())
    if path.stem == method:
        assert given == chosen_training(method, pretraining_config(method)(), name)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("method", method_names())
def test_what_is_given_is_laid_over_the_preset(name, method):
    config = pretraining_config(method)
    plain = chosen_training(method, config(), name)
    given = chosen_training(method, config(seed=7, augmentation={"brightness": 0.25}, variant="a"), name)
    assert given == {**plain, "seed": 7, "augmentation": {**plain["augmentation"], "brightness": 0.25}}


def test_images_of_a_preset_are_the_same_for_every_method():
    assert {name: options["size"] for name, options in image_presets().items()} == {
        "demo": 96, "paper": 256, "small_gpu": 256,
    }  # fmt: skip


@pytest.mark.parametrize("method", method_names())
@pytest.mark.parametrize("path", EVALUATIONS, ids=lambda path: path.parent.name)
def test_an_evaluation_preset_is_a_run_configuration_of_every_evaluation(path, method):
    assert dg.validate_run_config(defs.resolve_job_def(f"evaluate_{method}"), yaml.safe_load(path.read_text()))


def test_the_paper_evaluation_is_what_the_tasks_say_the_papers_do():
    found = chosen_evaluation(EvaluationSettings(), "paper", {})
    assert {task: settings(**found.options[task]) for task, settings in tasks_with_settings().items()} == {
        task: settings() for task, settings in tasks_with_settings().items()
    }
    amount = found.amount
    assert (amount.repeats, amount.fractions, amount.simulated_studies) == (3, [0.01, 0.1, 1.0], 0)


def test_an_evaluation_is_what_was_given_over_the_tag_over_the_preset():
    tags = {FRACTIONS_TAG: "0.1"}
    given = EvaluationSettings(repeats=5, fine_tune={"epochs": 3})
    found = chosen_evaluation(given, "paper", tags)
    assert (found.amount.repeats, found.amount.fractions) == (5, [0.1])
    paper = chosen_evaluation(EvaluationSettings(), "paper", {})
    assert found.options["fine_tune"] == {**paper.options["fine_tune"], "epochs": 3}
    assert found.options["detection"] == paper.options["detection"]
    assert chosen_evaluation(EvaluationSettings(fractions=[1.0]), "paper", tags).amount.fractions == [1.0]


@pytest.mark.parametrize(
    ("field", "variable", "cohort", "expected"),
    [
        ("", "", "phantom", "demo"),
        ("", "", "mimic_cxr", "paper"),
        ("", "small_gpu", "phantom", "small_gpu"),
        ("paper", "small_gpu", "phantom", "paper"),
    ],
)
def test_the_preset_is_named_or_follows_from_the_dataset(monkeypatch, field, variable, cohort, expected):
    monkeypatch.setenv("RADALIGN_PRESET", variable)
    place = Workspace(cohort=cohort, preset=field)
    assert place.preset_name() == expected


def test_what_is_simulated_beside_a_pretraining_has_its_preset(tmp_path, monkeypatch):
    pretraining = Workspace(home=str(tmp_path), cohort="phantom")
    archive = tmp_path / "rsna_pneumonia" / "archive"
    archive.mkdir(parents=True)
    mark(archive)
    monkeypatch.delenv("RADALIGN_PRESET")
    assert pretraining.downstream("rsna_pneumonia").preset_name() == "demo"


def test_a_preset_that_is_none_is_one_sentence(monkeypatch):
    with pytest.raises(PresetError, match=r"`preset: papr` is no preset .did you mean `paper`.*demo, paper, small_gpu"):
        Workspace(preset="papr").preset_name()
    monkeypatch.setenv("RADALIGN_PRESET", "huge")
    with pytest.raises(PresetError, match="`RADALIGN_PRESET=huge` is no preset; presets are"):
        Workspace().preset_name()
