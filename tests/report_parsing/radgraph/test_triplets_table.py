"""RadGraph as a source of triplets."""

from hypothesis import given
from hypothesis import strategies as st

from report_parsing.radgraph.files import write_graphs
from report_parsing.radgraph.triplets import triplets_of_file, triplets_table
from report_parsing.tables import TRIPLETS
from report_parsing.vocabulary import ENTITIES, POSITIONS
from tests.report_parsing.radgraph.conftest import build, graphs

GRAPH = build(
    "Heart normal . Possible left pleural effusion . It is retrocardiac .",
    *("0 ANAT-DP", "1 OBS-DP located_at:1", "4 ANAT-DP modify:4", "5 ANAT-DP", "6 OBS-U located_at:4 located_at:6"),
    "10 ANAT-DP",
)


def test_triplets_with_their_evidence():
    table = triplets_table([("p10/p1/s5.txt", GRAPH)])
    assert table.schema.equals(TRIPLETS, check_metadata=True)
    rows = [(*list(row.values())[:5], GRAPH.text[row["start"] : row["end"]]) for row in table.to_pylist()]
    assert rows == [
        ("5", 0, "normal", "heart_size", "present", "Heart normal"),
        ("5", 1, "effusion", "left_pleural", "uncertain", "left pleural effusion"),
        ("5", 1, "effusion", "retrocardiac", "uncertain", "effusion"),  # the place is in another sentence
    ]


def test_a_file_is_a_source(tmp_path):
    write_graphs(tmp_path / "ours.json", [("p10/p1/s5.txt", GRAPH), ("p10/p1/s6.txt", build("Clear", "0 OBS-DP"))])
    text = (tmp_path / "ours.json").read_text(encoding="utf-8").replace('"end_ix": 0', '"end_ix": 9', 1)
    (tmp_path / "broken.json").write_text(text.replace('"text": "Clear"', '"txt": "Clear"'), encoding="utf-8")
    table, rejects = triplets_of_file(tmp_path / "broken.json")
    assert [(reject.key, reject.reason) for reject in rejects] == [("p10/p1/s6.txt", "no_text")]
    assert set(table["study_id"].to_pylist()) == {"5"}


@given(st.lists(graphs(), max_size=3))
def test_spans_index_the_text(found):
    studies = [(str(number), graph) for number, graph in enumerate(found)]
    rows = triplets_table(studies).to_pylist()
    assert len({tuple(row.values()) for row in rows}) == len(rows)
    for row in rows:
        assert 0 <= row["start"] <= row["end"] <= len(found[int(row["study_id"])].text)
        assert row["entity"] in ENTITIES
        assert row["position"] in POSITIONS
