"""The model's output form, and what is said when weights or package are missing. No trained weights are here."""

import sys
from pathlib import Path

import pytest

from report_parsing.errors import ReportError
from report_parsing.radgraph.model import ModelError, annotate, graph_of_annotation
from tests.report_parsing.radgraph.conftest import build

RECORDED = {  # what the package's README shows for `radgraph-xl`
    "text": "No evidence of pneumothorax following chest tube removal .",
    "entities": {
        "1": {
            "tokens": "pneumothorax",
            "label": "Observation::definitely absent",
            "start_ix": 3,
            "end_ix": 3,
            "relations": [],
        },
        "2": {"tokens": "chest", "label": "Anatomy::definitely present", "start_ix": 5, "end_ix": 5, "relations": []},
        "3": {
            "tokens": "tube",
            "label": "Observation::definitely present",
            "start_ix": 6,
            "end_ix": 6,
            "relations": [["located_at", "2"]],
        },
    },
    "data_source": None,
    "data_split": "inference",
}
STUB = '''
class RadGraph:
    """Answers like the package, without a model."""

    def __init__(self, model_type, model_cache_dir):
        print("Using device: cpu")

    def __call__(self, reports):
        [text] = reports
        assert text.strip()
        if text == "too much":
            raise RuntimeError
        entity = {"tokens": text.split()[0], "label": "OBS-DP", "start_ix": 0, "end_ix": 0, "relations": []}
        return {"0": {"text": text, "entities": {"1": entity}, "data_source": None, "data_split": "inference"}}
'''


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "radgraph-xl"
    (folder / "vocabulary").mkdir(parents=True)
    for name in ("config.json", "weights.th"):
        (folder / name).touch()
    return folder


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Puts modules before the real ones of the model's process: name -> source."""

    def put(**sources):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return put


def test_recorded_output_becomes_a_graph():
    graph = graph_of_annotation(RECORDED)
    expected = build(RECORDED["text"], "3 OBS-DA", "5 ANAT-DP", "6 OBS-DP located_at:2")
    assert (graph.text, graph.entities, graph.split) == (expected.text, expected.entities, "inference")


@pytest.mark.parametrize(
    ("label", "published"),
    [
        ("ANAT-DP", "ANAT-DP"),
        ("OBS-U", "OBS-U"),
        ("Observation::uncertain", "OBS-U"),
        ("Observation::measurement::definitely present", "OBS-DP"),
        ("Anatomy::measurement::uncertain", "ANAT-DP"),
        ("Anatomy::definitely absent", "ANAT-DP"),
    ],
)
def test_labels_of_newer_models(label, published):
    entity = {**RECORDED["entities"]["1"], "label": label}
    assert graph_of_annotation({**RECORDED, "entities": {"1": entity}}).entities["1"].label == published


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (None, "model_failed"),
        ([], "bad_annotation"),
        ({"text": "x", "entities": {"1": {}}}, "bad_annotation"),
        ({**RECORDED, "entities": {"1": {**RECORDED["entities"]["1"], "label": "Change::new"}}}, "unknown_label"),
        ({**RECORDED, "text": "No"}, "bad_span"),
    ],
)
def test_unusable_output_is_said(annotation, reason):
    with pytest.raises(ReportError) as error:
        graph_of_annotation(annotation)
    assert error.value.reason == reason


def test_reports_through_the_package_in_its_own_process(weights, packages):
    packages(radgraph=STUB, torch="__version__ = '2.15.0+cpu'")
    rejects = []
    reports = [("a", "Effusion\nis seen"), ("b", " \n"), ("c", "too much"), ("d", "Clear é")]
    found = list(annotate(reports, weights, rejects, Path(sys.executable)))
    assert [(key, [entity.tokens for entity in graph.entities.values()]) for key, graph in found] == [
        ("a", ["Effusion"]),
        ("b", []),
        ("d", ["Clear"]),
    ]
    assert [(reject.key, reject.reason) for reject in rejects] == [("c", "model_failed")]


@pytest.mark.parametrize(
    ("radgraph", "torch", "sentence"),
    [
        ("raise ImportError(name='radgraph')", "", "cannot import radgraph; give the python of an environment"),
        (STUB, "__version__ = '2.5.1'", "has a torch that may run code out of a weights file"),
        (
            "from pickle import UnpicklingError\ndef RadGraph(**options): raise UnpicklingError",
            "__version__ = '2.6'",
            r"weights\.th holds more than tensors and is refused",
        ),
        (
            "def RadGraph(**options): raise OSError('no tokenizer\\nat all')",
            "__version__ = '2.6'",
            "OSError: no tokenizer",
        ),
    ],
)
def test_what_keeps_the_model_from_running_is_one_sentence(weights, packages, radgraph, torch, sentence):
    packages(radgraph=radgraph, torch=torch)
    with pytest.raises(ModelError, match=sentence) as error:
        next(annotate([("a", "Clear")], weights, []))
    assert "\n" not in str(error.value)


def test_missing_weights_are_one_sentence(tmp_path):
    with pytest.raises(ModelError, match=r"holds no weights of a RadGraph model \(config\.json, weights\.th"):
        next(annotate([], tmp_path, []))


def test_the_folder_must_be_named_after_the_model(weights):
    weights = weights.rename(weights.with_name("mine"))
    with pytest.raises(ModelError, match=r"rename .*mine to the kind of its model"):
        next(annotate([], weights, []))


def test_a_missing_python_is_one_sentence(weights, tmp_path):
    with pytest.raises(ModelError, match="absent does not start"):
        next(annotate([("a", "Clear")], weights, [], tmp_path / "absent"))
