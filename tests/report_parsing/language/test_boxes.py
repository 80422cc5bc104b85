"""Boxes to tick are read as words: what stands there instead, what it says, and where in the report."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report_parsing.language.readable import is_plain, readable
from report_parsing.reports import parse_report
from report_parsing.statements.triplets import TripletParser

PARSER = TripletParser()
FORM = """FINDINGS:
[ ] Pneumothorax
[x] pleural effusion, left
- [ ] consolidation
Edema: [ ] none [x] mild [ ] severe
IMPRESSION: [x] Effusion. [ ] Pneumonia
"""


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("[ ] Edema", "No Edema"),
        ("[] Edema", "No Edema"),
        ("[x] Edema", "Edema"),
        ("☐ Edema ☒ Mass", "No Edema. Mass"),
        ("Edema: [ ] yes [x] no", "Edema:  no"),
        ("Edema: [x] Y [ ] N", "Edema: yes "),
        ("Edema [ ] yes [x] no", "Edema  : no"),
        ("Edema - [ ] present [x] absent", "Edema -  absent"),
        ("Edema: [x] left [x] right", "Edema: left , right"),
        ("Edema: [ ] yes [ ] no", "Edema:  ?"),
        ("Edema: [ ] left [ ] right", "Edema:  no"),
        ("FINDINGS: [ ] Edema", "FINDINGS: No Edema"),
        ("Edema [ ] Mass [x]", "Edema : no. Mass : yes"),
        ("Edema: [ ]", "Edema: no"),
        ("[ ] No edema [x] Mass", " Mass"),  # nothing is said of an edema
        ("[ ] No edema\n[x] Mass", "\nMass"),
        ("[ ] Edema\n[x] mass", "No Edema.\nmass"),
        ("[ ] Lungs clear [x] Mass", " Mass"),
        ("(x) Edema ( ) Mass", "Edema. No Mass"),
        ("Clear. [ ] Mass", "Clear. No Mass"),
        (
            "Nodule (x) of [1] and array[0], see [right] ( ) and [?]",
            "Nodule (x) of [1] and array[0], see [right] ( ) and [?]",
        ),
        ("A [ ] year old man, ( ) of age", "A [ ] year old man, ( ) of age"),
        ("Findings: ( ) The lungs are clear.", "Findings: ( ) The lungs are clear."),
        ("[**Name**] and [ ]", "[**Name**] and : no"),
    ],
)
def test_what_is_read(text, read):
    assert readable(text).text == read


def test_a_form_is_read_item_by_item():
    parsed = parse_report(FORM)
    found = {}
    for section, start, end, text in parsed.sentences:
        (triplets,) = PARSER.parse_report(FORM, [(start, end)])
        found[section, text] = {triplet[:3] for triplet in triplets}
    assert found == {
        ("findings", "No Pneumothorax"): {("pneumothorax", "unspecified", "absent")},
        ("findings", "pleural effusion, left"): {("effusion", "left_pleural", "present")},
        ("findings", "No consolidation"): {("consolidation", "unspecified", "absent")},
        ("findings", "Edema: mild"): {("edema", "unspecified", "present")},
        ("impression", "Effusion."): {("effusion", "unspecified", "present")},
        ("impression", "No Pneumonia"): {("pneumonia", "unspecified", "absent")},
    }


def test_spans_are_those_of_the_report():
    report = "Pleural effusion: [ ] none [x] left"
    (triplet,) = PARSER.parse_sentence(report)
    assert report[triplet.start : triplet.end] == "Pleural effusion: [ ] none [x] left"
    (first, second) = PARSER.parse_sentence("[ ] Edema [x] Mass")
    assert [first.exists, second.exists] == ["absent", "present"]
    assert (first.start, first.end, second.start, second.end) == (4, 9, 14, 18)


@settings(deadline=None)
@given(st.text(alphabet="[]()xX ☐☒:.-\nno Edéma&lt;*", max_size=60))
def test_every_character_has_its_place(text):
    read = readable(text)
    spans = [read.span(index, index + 1) for index in range(len(read.text))]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    if is_plain(text):
        assert read.text == text
    PARSER.parse_sentence(text)
