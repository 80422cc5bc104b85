"""Sentences with what a radiologist would sign, and the `triplets` table of whole reports."""

import csv
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report_parsing.reports import ReportOptions, parse_report
from report_parsing.statements.triplets import TripletParser
from report_parsing.tables import REPORTS, TRIPLETS
from report_parsing.vocabulary import ENTITIES, POSITIONS


def read_table(name):
    lines = Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


CASES = read_table("expected_triplets.csv")
HARD = read_table("hard_sentences.csv")

REPORT = """ EXAMINATION:  CHEST (PORTABLE AP)

 INDICATION:  ___ year old woman with pneumonia.  // effusion?

 COMPARISON:  Large right pneumothorax on ___.

 FINDINGS:

 There is a small left pleural
 effusion with adjacent atelectasis.  The heart is mildly enlarged.

 IMPRESSION:

 1.  No pneumothorax.
 2.  Small left
 effusion.
"""


@pytest.fixture(scope="module")
def parser():
    return TripletParser()


def reports_table(*reports):
    options = ReportOptions(required=())
    rows = [
        {"cohort": "test", "study_id": str(number), **asdict(parse_report(report, options=options))}
        for number, report in enumerate(reports)
    ]
    return pa.Table.from_pylist(rows, schema=REPORTS)


@pytest.mark.parametrize("case", CASES, ids=[case["sentence"] for case in CASES])
def test_sentence(parser, case):
    triplets = parser.parse_sentence(case["sentence"])
    wanted = case["expected"].split()
    said = {f"{item.entity}@{item.position}={item.exists}" for item in triplets}
    named = {item.split("@")[0] for item in wanted}
    assert {item for item in said if item.split("@")[0] in named} == {item for item in wanted if "@" in item}
    assert not {item.entity for item in triplets} & {item[1:] for item in wanted if item.startswith("!")}


@pytest.mark.parametrize("case", HARD, ids=[case["phenomenon"] for case in HARD])
def test_hard_sentence(parser, case):
    said = {f"{item.entity}@{item.position}={item.exists}" for item in parser.parse_sentence(case["sentence"])}
    assert said == set(case["expected"].split())


def test_tables_have_enough_sentences():
    assert len(CASES) >= 80
    assert len({case["phenomenon"] for case in HARD}) == len(HARD) >= 90


def test_only_findings_and_impression_speak(parser):
    table = parser.parse_table(reports_table(REPORT))
    assert table.schema.equals(TRIPLETS, check_metadata=True)
    said = {(row["entity"], row["position"], row["exists"]) for row in table.to_pylist()}
    assert ("effusion", "left_pleural", "present") in said
    assert ("cardiomegaly", "heart_size", "present") in said
    assert ("pneumothorax", "unspecified", "absent") in said
    assert {exists for entity, _, exists in said if entity == "pneumothorax"} == {"absent"}  # not the comparison's
    assert "pneumonia" not in {entity for entity, _, _ in said}  # not the indication's


def test_evidence_is_characters_of_the_report(parser):
    reports = reports_table(REPORT)
    sentences = reports.column("sentences").to_pylist()[0]
    for row in parser.parse_table(reports).to_pylist():
        sentence = sentences[row["sentence"]]
        assert sentence["start"] <= row["start"] < row["end"] <= sentence["end"]
        if row["entity"] == "effusion":
            evidence = " ".join(REPORT[row["start"] : row["end"]].split())
            assert evidence in ("left pleural effusion", "left effusion", "Small left effusion")


def test_a_short_form_that_the_report_defines_is_read(parser):
    report = "Large upper zone cavity (LUZC) on the right. The LUZC is unchanged, no effusion."
    spans = [(0, 44), (45, len(report))]
    first, second = parser.parse_report(report, spans)
    assert [item.entity for item in first] == ["tail_abnorm_obs"]
    assert {(item.entity, item.exists) for item in second} == {("tail_abnorm_obs", "present"), ("effusion", "absent")}
    assert report[second[0].start : second[0].end] == "LUZC"
    assert parser.parse_report(report, spans[1:]) == [second]


def test_a_line_break_changes_nothing(parser):
    plain = parser.parse_sentence("There is a small left pleural effusion.")
    broken = parser.parse_sentence("There is a small left pleural\n effusion.")
    assert [item[:3] for item in plain] == [item[:3] for item in broken]


def test_progress_counts_reports(parser):
    seen = []
    parser.parse_table(reports_table(REPORT, REPORT), progress=seen.append)
    assert seen == [1, 2]


def test_a_text_without_full_stops_is_read_in_pieces(parser):
    triplets = parser.parse_sentence("no effusion and " * 2_000)
    assert {item[:3] for item in triplets} == {("effusion", "unspecified", "absent")}


def test_empty_table(parser):
    assert parser.parse_table(reports_table()).num_rows == 0


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_text_parses_within_the_vocabulary(text):
    for item in shared_parser().parse_sentence(text):
        assert item.entity in ENTITIES
        assert item.position in POSITIONS
        assert item.exists in ("present", "absent", "uncertain")
        assert 0 <= item.start < item.end <= len(text)


VOCABULARY = """
no left right small pleural effusion pneumothorax in the of and or , ; but heart lungs clear is are normal may lower
lobe base bilateral atelectasis cannot exclude versus with tip tube enlarged has resolved costophrenic
"""


@given(st.lists(st.sampled_from(VOCABULARY.split()), max_size=25))
@settings(max_examples=300, deadline=None)
def test_any_order_of_radiology_words_parses(words):
    text = " ".join(words)
    triplets = shared_parser().parse_sentence(text)
    assert len({item[:3] for item in triplets}) == len(triplets)
    assert all(text[item.start : item.end].strip() for item in triplets)


def shared_parser(kept=[]):  # noqa: B006  one parser for all examples
    if not kept:
        kept.append(TripletParser())
    return kept[0]
