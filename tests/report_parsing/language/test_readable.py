"""What is not seen, or only looks different, changes nothing that is read, and spans are those of the original."""

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report_parsing.language.readable import WORD_JOINER, readable, without_surrogates
from report_parsing.reports import ReportOptions, parse_report
from report_parsing.statements.triplets import TripletParser
from report_parsing.tables import REPORTS

INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u2060\ufeff\ufe0f\x01\x7f\ud800\udfff\udc81\u202e"
BLANKS = "\xa0\u2009\u3000\u202f"
LIGATURES = {"ffi": "ﬃ", "ff": "ﬀ", "fi": "ﬁ", "fl": "ﬂ"}
SENTENCES = (
    "No pneumothorax.",
    "There is a small left pleural effusion.",
    "Diffuse airspace opacities, worst at the right base.",
    "The heart isn't enlarged, and the lungs are clear.",
    "Stiff lungs with a 2.5 cm nodule in the left upper lobe - new.",
)
PARSER = TripletParser()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("pneu\u00admo\u200bthorax", "pneumothorax"),
        ("ﬁndings oﬃce", "findings office"),
        ("ＮＯ\u3000ＥＤＥＭＡ：", "NO EDEMA:"),
        ("𝐄𝐝𝐞𝐦𝐚 x²", "Edema x2"),
        ("right\u2011sided left–sided a – b", "right-sided left-sided a – b"),
        ("isn’t “clear”", 'isn\'t "clear"'),
        ("e\u0301 cafe\u0301", "é café"),
        ("édème größer", "édème größer"),
        ("№ 3, ½ cm, Cath™, 3ª…", "№ 3, ½ cm, Cath, 3ª…"),  # compatibility forms would read "No 3", "12 cm", "CathTM"
        ("① clear ⑴", "(1) clear (1)"),
        ("\x93q\x94 \x96 \x81", '"q" – '),  # Windows-1252 decoded as Latin-1
        ("no\udca0edema\udc92s", "no edema's"),  # undecoded bytes of Windows-1252
        ("\uf0b7 clear", "• clear"),
        ("a<br>b<BR/>c</p>", "a\nb\nc\n"),
        ("<b>no</b> e<i>de</i>ma, < 3 mm > 2", "no edema, < 3 mm > 2"),
        ("a&nbsp;b &lt;3&#39; AT&T &foo;", "a b <3' AT&T &foo;"),
        (r"a\.br\b\X0A\c\n\r\nd\te \H\x\N\ ", "a\nb\nc\n\nd e x "),
        ("**no** *edema* __or__ _mass_ 5*5 snake_case", "no edema or mass 5*5 snake_case"),
        ("[**Last Name**] ___ A___ and [**2101-3-4**]", "[**Last Name**] ___ A___ and [**2101-3-4**]"),
        ("* clear\n* no edema", "* clear\n* no edema"),
    ],
)
def test_what_is_read(text, read):
    assert readable(text).text == read


def test_marks_of_emphasis_have_one_form():
    for marked in ("**Findings**", "*Findings*", "__Findings__", "_Findings_", "<b>Findings</b>", "<em>Findings</em>"):
        assert readable(marked, emphasis=True).text == "**Findings**"


@given(st.one_of(st.text(), st.text(alphabet="aé*_<>&;\\.brn\u00ad\u200bﬁ①\u0301\ud800\n [")))
def test_every_character_has_its_place(text):
    read = readable(text)
    spans = [read.span(index, index + 1) for index in range(len(read.text))]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    assert readable(read.text).text == read.text or set(text) & set("*_<&\\\u0301")  # marks may nest
    without_surrogates(text).encode()
    assert len(without_surrogates(text)) == len(text)


def soiled(text, seed, share=0.15):
    """The text with characters that are not seen, and with others in place of those that are."""
    chance = random.Random(seed)
    for plain, ligature in LIGATURES.items():
        text = text.replace(plain, chance.choice([plain, ligature]))
    pieces = []
    for character in text:
        if chance.random() < share and character == " ":
            character = chance.choice(BLANKS)
        elif chance.random() < share and character.isalnum() and character.isascii():
            character = chr(ord(character) + 0xFEE0)
        elif character == "'":
            character = chance.choice("'’\u2032")
        pieces.append(character + chance.choice(INVISIBLE) * (chance.random() < share))
    return "".join(pieces)


@settings(deadline=None)  # the first sentence waits for the lexicon
@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=3), st.integers(0, 2**32))
def test_what_is_not_seen_loses_no_finding(sentences, seed):
    clean = f"FINDINGS: {' '.join(sentences)}\nIMPRESSION: {sentences[0]}"
    said, texts = reading(clean)
    soiled_report = soiled(clean, seed)
    assert reading(soiled_report) == (said, texts)
    assert reading(parse_report(soiled_report).report) == (said, texts)  # as it is stored


def reading(report):
    """Triplets with the words they are from, and the texts of the sentences; the row can be stored."""
    parsed = parse_report(report, options=ReportOptions(repeated="all"))
    row = {"cohort": "", "study_id": "", **vars(parsed)}
    assert pa.Table.from_pylist([row], schema=REPORTS).num_rows == 1
    found = PARSER.parse_report(report, [(start, end) for _, start, end, _ in parsed.sentences])
    said = [(*t[:3], readable(report[t.start : t.end]).text) for triplets in found for t in triplets]
    return said, [sentence.text for sentence in parsed.sentences]


def test_surrogates_are_stored_as_what_is_not_read():
    parsed = parse_report("FINDINGS: Left pneumo\ud83dthorax is\udca0seen.")
    assert parsed.report == f"FINDINGS: Left pneumo{WORD_JOINER}thorax is seen."
    assert parsed.text == "Left pneumothorax is seen."


@pytest.mark.parametrize(
    "wrapped", ["<p>{}</p>", "{}<br>", "**{}** ", r"{}\.br\ ", "<b>{}</b>&nbsp;", "\ufeff{}\u200b"]
)
def test_spans_leave_marks_out(wrapped):
    report = "FINDINGS: " + wrapped.format("No effusion.") + wrapped.format("Clear lungs.")
    parsed = parse_report(report)
    assert [report[start:end] for _, start, end, _ in parsed.sentences] == ["No effusion.", "Clear lungs."]
    assert parsed.findings is not None
    assert (parsed.findings[:2], parsed.findings[-1]) == ("No", ".")
