"""RadGraph files: what is written is read back, and nothing malformed crashes or disappears."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_parsing.radgraph import files
from report_parsing.radgraph.files import GraphFileError, Study, read_graphs, study_of, write_graphs
from tests.report_parsing.radgraph.conftest import build, graphs

EFFUSION = {"tokens": "effusion", "label": "OBS-DA", "start_ix": 1, "end_ix": 1, "relations": []}
REPORT = {"text": "No effusion .", "entities": {"1": EFFUSION}, "data_source": "MIMIC-CXR", "data_split": "train"}
EXPECTED = build("No effusion .", "1 OBS-DA")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.sampled_from([*REPORT, "labeler_1"]), JSON | st.just(REPORT) | st.just({"1": EFFUSION}))


def read_text(folder, text, **options):
    path = folder / "graphs.json"
    path.write_text(text, encoding="utf-8")
    rejects = []
    return list(read_graphs(path, rejects, **options)), rejects


def with_entity(**fields):
    return {**REPORT, "entities": {"1": {**EFFUSION, **fields}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("radgraph")


@given(st.dictionaries(st.text(max_size=8), graphs(), max_size=4), st.integers(1, 40))
def test_round_trip_in_any_buffer(folder, written, buffer):
    path = folder / "round.json"
    write_graphs(path, written.items())
    assert json.loads(path.read_text(encoding="utf-8")).keys() == written.keys()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_BUFFER", buffer)
        rejects = []
        assert list(read_graphs(path, rejects)) == list(written.items())
        assert not rejects


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("start", ["", "\ufeff", " \r\n"])
def test_published_form(folder, indent, start):
    read, rejects = read_text(folder, start + json.dumps({"p10/p1/s2.txt": REPORT}, indent=indent) + "\n")
    assert not rejects
    [(key, graph)] = read
    assert (key, graph.text, graph.entities) == ("p10/p1/s2.txt", EXPECTED.text, EXPECTED.entities)
    assert (graph.source, graph.split) == ("MIMIC-CXR", "train")


@pytest.mark.parametrize("labeler", ["labeler_1", "labeler_2"])
def test_gold_file_with_two_labelers(folder, labeler):
    second = {"entities": {"1": {**EFFUSION, "label": "OBS-U"}}}
    report = {"text": "No effusion .", "labeler_1": {"entities": {"1": EFFUSION}}, "labeler_2": second}
    [(_, graph)], rejects = read_text(folder, json.dumps({"k": report, "one": 1}), labeler=labeler)
    assert graph.entities["1"].label == {"labeler_1": "OBS-DA", "labeler_2": "OBS-U"}[labeler]
    assert [reject.key for reject in rejects] == ["one"]


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (None, "not_an_object"),
        ([], "not_an_object"),
        ({}, "no_text"),
        ({**REPORT, "text": 3}, "no_text"),
        ({"text": "No effusion ."}, "no_entities"),
        ({**REPORT, "entities": []}, "no_entities"),
        ({"text": "x", "labeler_1": []}, "no_entities"),
        ({**REPORT, "data_source": 3}, "bad_source"),
        ({**REPORT, "entities": {"1": 5}}, "bad_entity"),
        ({**REPORT, "entities": {"1": {"tokens": "effusion"}}}, "bad_entity"),
        (with_entity(label=["OBS-DA"]), "bad_entity"),
        (with_entity(tokens=None), "bad_tokens"),
        (with_entity(label="OBS-X"), "unknown_label"),
        (with_entity(start_ix=-1), "bad_span"),
        (with_entity(end_ix=3), "bad_span"),
        (with_entity(end_ix=0), "bad_span"),
        (with_entity(start_ix="1"), "bad_span"),
        (with_entity(start_ix=1.0), "bad_span"),
        (with_entity(start_ix=True), "bad_span"),
        (with_entity(relations="modify"), "bad_relation"),
        (with_entity(relations=["1"]), "bad_relation"),
        (with_entity(relations=[["modify"]]), "bad_relation"),
        (with_entity(relations=[[["modify"], "1"]]), "bad_relation"),
        (with_entity(relations=[["near", "1"]]), "unknown_relation"),
        (with_entity(relations=[["modify", "7"]]), "missing_target"),
        (with_entity(relations=[["modify", 1]]), "missing_target"),
    ],
)
def test_malformed_report_is_a_reject_with_its_reason(folder, report, reason):
    read, rejects = read_text(folder, json.dumps({"bad": report, "good": REPORT}))
    assert [key for key, _ in read] == ["good"]
    [reject] = rejects
    assert (reject.key, reject.reason) == ("bad", reason)
    assert "ffusion" not in reject.detail


def test_a_null_relation_is_none(folder):
    [(_, graph)], rejects = read_text(folder, json.dumps({"k": with_entity(relations=[None])}))
    assert graph.entities == EXPECTED.entities
    assert not rejects


def test_a_report_that_comes_twice_is_said(folder):
    text = f'{{"a": {json.dumps(REPORT)}, "a": {json.dumps(REPORT)}}}'
    read, rejects = read_text(folder, text)
    assert [key for key, _ in read] == ["a"]
    assert [(reject.key, reject.reason) for reject in rejects] == [("a", "duplicate_key")]


@given(st.dictionaries(st.text(max_size=5), JSON | FIELDS, max_size=5))
def test_every_report_comes_out_once(folder, reports):
    read, rejects = read_text(folder, json.dumps(reports))
    assert sorted([key for key, _ in read] + [reject.key for reject in rejects]) == sorted(reports)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "[]",
        "3",
        "nonsense",
        '{"a"',
        '{"a": 1',
        '{"a": 1,}',
        "{1: 2}",
        '{"a": 1} x',
        '{"a": 1}{}',
        "{",
        "[" * 90_000,
    ],
)
def test_a_file_that_is_no_radgraph_file_is_one_sentence(folder, text):
    with pytest.raises(GraphFileError, match=r"graphs\.json is not a RadGraph file: [^\n]+$"):
        read_text(folder, text)


def test_deep_nesting_and_wrong_encoding_are_said_too(folder):
    with pytest.raises(GraphFileError):
        read_text(folder, '{"a": ' + "[" * 90_000)
    (folder / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(GraphFileError, match=r"latin\.json"):
        list(read_graphs(folder / "latin.json", []))
    with pytest.raises(GraphFileError, match=r"absent\.json cannot be read"):
        list(read_graphs(folder / "absent.json", []))


@given(st.data())
def test_a_cut_file_gives_its_whole_reports_and_then_says_so(folder, data):
    text = json.dumps({str(number): REPORT for number in range(3)})
    path = folder / "cut.json"
    path.write_text(text[: data.draw(st.integers(0, len(text) - 1))], encoding="utf-8")
    keys = []

    def read():
        for key, _ in read_graphs(path, []):
            keys.append(key)

    with pytest.raises(GraphFileError, match="broken after"):
        read()
    assert keys == [str(number) for number in range(len(keys))]


def test_a_failed_write_leaves_the_old_file(folder):
    path = folder / "kept.json"
    write_graphs(path, [("a", EXPECTED)])

    def broken():
        yield "b", EXPECTED
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_graphs(path, broken())
    assert [key for key, _ in read_graphs(path, [])] == ["a"]
    assert not list(folder.glob("kept.json.*"))


@pytest.mark.parametrize(
    ("key", "study"),
    [
        ("p10/p10000100/s50000700.txt", Study("10000100", "50000700")),
        ("p10/p10000100/s50000700", Study("10000100", "50000700")),
        ("patient64542/study1", Study("64542", "patient64542/study1")),
        ("valid/patient64542/study1/view1_frontal.jpg", Study("64542", "patient64542/study1")),
        ("my report", Study("", "my report")),
    ],
)
def test_ids_of_keys(key, study):
    assert study_of(key) == study
