"""Sections tile the report, whatever its headings look like, and no sentence is taken for a heading."""

import pytest

from report_parsing.sections.parser import split_sections, tile

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old man with cough.

 COMPARISON:  None.

 FINDINGS:

 The lungs are clear.
 LINES/TUBES:  None.

 IMPRESSION:

 Normal chest.

 NOTIFICATION:  Discussed by telephone.
"""


def bodies(report, sectioning="mended"):
    found = split_sections(report, sectioning)
    return {name: [report[start:end] for start, end in spans] for name, spans in found.items()}


def headed(report, sectioning="mended"):
    """(section, heading, body) of a report; white space around them does not matter."""
    return [
        (s.name, report[s.start : s.body].strip(), report[s.body : s.end].strip()) for s in tile(report, sectioning)
    ]


def test_sections_of_a_report():
    found = bodies(REPORT)
    assert found["preamble"] == ["FINAL REPORT"]
    assert found["examination"] == ["CHEST (PA AND LAT)"]
    assert found["comparison"] == ["None."]
    assert found["findings"] == ["The lungs are clear.\n LINES/TUBES:  None."]  # an organ's heading stays inside
    assert found["impression"] == ["Normal chest."]
    assert found["other"] == ["Discussed by telephone."]
    assert "last_paragraph" not in found


@pytest.mark.parametrize(
    "report",
    [
        "{}: The lungs are clear.\n{}: Normal.",
        "{}:The lungs are clear.\n{}:Normal.",
        "{}; The lungs are clear.\n{} : Normal.",
        "1. {}: The lungs are clear.\n2. {}: Normal.",
        "(1) {}: The lungs are clear.\n(2) {}: Normal.",
        "I. {}: The lungs are clear.\nII. {}: Normal.",
        "- {}: The lungs are clear.\n- {}: Normal.",
        "{} - The lungs are clear.\n{} -- Normal.",
        "{} – The lungs are clear. {} - Normal.",
        "{}\nThe lungs are clear.\n{}\nNormal.",
        "{}\n\nThe lungs are clear\n\n{}\n\nNormal.",
        "{}\nThe lungs are clear\n{}\nNormal.",
        "{}: The lungs are clear. {}: Normal.",
        "{}: The lungs are clear.{}: Normal.",
        "{} (PA and lateral): The lungs are clear.\n{} (preliminary): Normal.",
        "**{}:** The lungs are clear.\n**{}** Normal.",
        "## {}\nThe lungs are clear.\n## {}\nNormal.",
        "=== {} ===\nThe lungs are clear.\n=== {} ===\nNormal.",
        "[{}] The lungs are clear. [{}] Normal.",
        "<{}>The lungs are clear.</FINDINGS>\n<{}>Normal.</IMPRESSION>",
        '<AbstractText Label="{}">The lungs are clear.</AbstractText><AbstractText Label="{}">Normal.</AbstractText>',
    ],
)
@pytest.mark.parametrize("case", [str.upper, str.title, str.lower])
def test_forms_of_headings(report, case):
    written = report.format(case("findings"), case("impression"))
    found = bodies(written)
    assert [body.rstrip(".") for body in found["findings"]] == ["The lungs are clear"]
    assert found["impression"] == ["Normal."]


@pytest.mark.parametrize(
    ("report", "section"),
    [
        ("FINDINGS The lungs are clear.", "findings"),
        ("FINDINGS lungs are clear.", "findings"),
        ("IMPRESSION 1. Normal chest.", "impression"),
        ("CLINICAL HISTORY ___ with cough.", "indication"),
        ("Lungs are clear. IMPRESSION Normal chest.", "impression"),
        ("Cough since May COMPARISON None.", "comparison"),
        ("The lungs are clear\nIMPRESSION COPD.", "impression"),
        ("COMPARISON Radiograph of May.", "comparison"),
    ],
)
def test_headings_in_capitals_need_no_mark(report, section):
    assert section in bodies(report)


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("EXAM", "examination"),
        ("TYPE OF EXAMINATION", "examination"),
        ("HISTORY", "indication"),
        ("REASON FOR EXAM", "indication"),
        ("Clinical information", "indication"),
        ("INDICATION/HISTORY", "indication"),
        ("TECHNIQUE", "technique"),
        ("COMPARISONS", "comparison"),
        ("COMPARISON TO PRIOR STUDY", "comparison"),  # unlisted, in capitals: by its first word
        ("CONCLUSION", "impression"),
        ("CT CHEST IMPRESSION", "impression"),  # by its last word
        ("FINDINGS AND IMPRESSION", "findings"),
        ("Findings & Impression", "findings"),
        ("FINDINGS / IMPRESSION", "findings"),
        ("IMPRESSION AND RECOMMENDATIONS", "impression"),
        ("CHEST, PA AND LATERAL", "findings"),
        ("PORTABLE AP CHEST FILM", "findings"),  # unlisted: a film
        ("RIGHT CHEST TUBE", "findings"),  # unlisted: a device
        ("CLINICAL CORRELATE", "other"),  # unlisted
        ("RECOMMENDATION(S)", "other"),
        ("Dictated by", "other"),
        ("ADDENDUM", "addendum"),
    ],
)
def test_what_headings_open(heading, section):
    assert section in bodies(f"{heading}: Lungs are clear.")


@pytest.mark.parametrize(
    ("misspelt", "section"),
    [
        ("IMRESSION", "impression"),
        ("IMPRESSSION", "impression"),
        ("IMPRESISON", "impression"),
        ("Impressien", "impression"),
        ("FIDNINGS", "findings"),
        ("FINDINGS AND IMPRESION", "findings"),
        ("COMPARSION", "comparison"),
        ("TECHNQUE", "technique"),
        ("HISTROY", "indication"),
        ("REASON FOR EXAMINTION", "indication"),
    ],
)
def test_one_typing_error_is_forgiven(misspelt, section):
    assert section in bodies(f"{misspelt}: Lungs are clear.")
    assert section not in bodies(f"{misspelt} are clear.")


@pytest.mark.parametrize(
    "sentence",
    [
        "Findings are consistent with edema.",
        "FINDINGS ARE CONSISTENT WITH EDEMA.",
        "FINDINGS are consistent with edema.",
        "Comparison to prior: unchanged.",
        "The impression of a mass: see below.",
        "Comparison is made to the prior.",
        "COMPARISON IS MADE TO THE PRIOR.",
        "Impression of a mass.",
        "History of asthma.",
        "HISTORY OF ASTHMA.",
        "Compared with the findings: clear. See impression: none.",
        "In comparison: no change.",
        "NO CHANGE IN FINDINGS: STABLE.",
        "No acute cardiopulmonary\nfindings",
        "There is no change in the\nimpression\nof a mass.",
        "There is some fluid in the lungs, which was not seen at the time of the previous\nexam",
        "Compression: none. Binding: none.",
        "Unchanged since 10:30 and 11:15.",
        "A nodule of < 3 mm: stable; ratio > 2.",
        "Effusion - moderate - on the left.",
    ],
)
def test_sentences_are_no_headings(sentence):
    assert headed(sentence) == [("last_paragraph", "", sentence)]
    assert headed(f"FINDINGS: Clear.\n{sentence}\nClear.") == [("findings", "FINDINGS:", f"Clear.\n{sentence}\nClear.")]


def test_within_a_sentence_a_capital_tells():
    assert bodies("Findings: The lungs are clear Impression: Normal.")["impression"] == ["Normal."]
    assert bodies("findings: the lungs are clear impression: normal.")["impression"] == ["normal."]
    assert "impression" not in bodies("Findings: The lungs are clear impression: Normal.")


def test_a_one_line_export():
    line = "EXAM: CHEST INDICATION: COUGH COMPARISON: NONE FINDINGS: LUNGS CLEAR. IMPRESSION: NORMAL."
    expected = [
        ("examination", "EXAM:", "CHEST"),
        ("indication", "INDICATION:", "COUGH"),
        ("comparison", "COMPARISON:", "NONE"),
        ("findings", "FINDINGS:", "LUNGS CLEAR."),
        ("impression", "IMPRESSION:", "NORMAL."),
    ]
    assert headed(line) == expected
    for case in (str.title, str.lower):
        assert headed(case(line)) == [(name, case(heading), case(body)) for name, heading, body in expected]


def test_impression_inside_the_findings():
    report = "FINDINGS:\n The lungs are clear.\n Impression:\n Normal."
    assert headed(report) == [
        ("findings", "FINDINGS:", "The lungs are clear."),
        ("impression", "Impression:", "Normal."),
    ]


def test_organs_and_devices():
    assert headed("COMPARISON: None.\nLUNGS: Clear.\nHeart: Normal.\nIMPRESSION:\nCHEST: Normal.") == [
        ("comparison", "COMPARISON:", "None."),
        ("findings", "", "LUNGS: Clear.\nHeart: Normal."),  # they open findings, and are part of them
        ("impression", "IMPRESSION:", "CHEST: Normal."),
    ]
    report = "FINDINGS: Clear.\nLUNG BASES: Clear.\nOther Findings: None."
    assert headed(report) == [("findings", "FINDINGS:", report[10:])]


def test_titles_of_films():
    assert [name for name, _, _ in headed("HISTORY: Cough.\nCHEST, TWO VIEWS: Clear.")] == ["indication", "findings"]
    report = "IMPRESSION:\nAP CHEST:\nClear."
    assert headed(report) == [("impression", "IMPRESSION:", "AP CHEST:\nClear.")]


def test_wet_reads_and_signatures_are_neither_findings_nor_impression():
    report = (
        "WET READ: ___ 9:10 PM\n No pneumonia.\n ______\n                 FINAL REPORT\n CHEST RADIOGRAPH\n"
        " FINDINGS: Clear.\n IMPRESSION: Normal.\n RECOMMENDATION(S): None.\n NOTIFICATION: Dr. ___ by phone.\n"
        " Dictated by Dr. ___\n"
    )
    assert [(name, body) for name, _, body in headed(report)] == [
        ("other", "___ 9:10 PM\n No pneumonia.\n ______"),
        ("preamble", "FINAL REPORT\n CHEST RADIOGRAPH"),
        ("findings", "Clear."),
        ("impression", "Normal."),
        ("other", "None."),
        ("other", "Dr. ___ by phone."),
        ("other", "Dr. ___"),
    ]


def test_each_addendum_is_kept_and_its_own_sections_count():
    report = "FINDINGS: A.\nIMPRESSION: B.\nADDENDUM: C.\nADDENDUM\nD.\nIMPRESSION: E."
    assert bodies(report) == {"findings": ["A."], "impression": ["B.", "E."], "addendum": ["C.", "D."]}


def test_every_occurrence_is_kept_in_order():
    assert bodies("IMPRESSION: One.\nFINDINGS: Two.\nIMPRESSION: Three.")["impression"] == ["One.", "Three."]


def test_empty_findings_do_not_count():
    assert headed("FINDINGS:\n\nIMPRESSION: Clear.")[0] == ("findings", "FINDINGS:", "")
    assert "findings" not in bodies("FINDINGS:\n\nIMPRESSION: Clear.")


def test_last_paragraph_only_without_findings_and_impression():
    found = bodies("INDICATION: Cough.\n \n Heart size is normal.\n \n Lungs are clear.\n")
    assert found == {"indication": ["Cough."], "last_paragraph": ["Heart size is normal.\n \n Lungs are clear."]}
    assert bodies("Lungs are clear.\n\nHeart is normal.") == {
        "last_paragraph": ["Lungs are clear.\n\nHeart is normal."]
    }
    assert bodies("PORTABLE CHEST\n\nLungs are clear.") == {
        "preamble": ["PORTABLE CHEST"],
        "last_paragraph": ["Lungs are clear."],
    }
    assert bodies("HISTORY: Cough.\n\nClear.\n\nSigned: Dr. ___\n\n5 pm")["last_paragraph"] == ["Clear."]
    assert "last_paragraph" not in bodies("COMPARISON: None.")
    assert "last_paragraph" not in bodies("IMPRESSION: Clear.\n\nThank you.")


def test_sections_of_nothing():
    assert tile("") == []
    assert split_sections(" \n ") == {}


def test_a_report_of_many_headings_is_split_in_one_pass():
    report = "\n".join(f"FINDINGS: {number} clear." for number in range(5_000))
    assert len(split_sections(report)["findings"]) == 5_000
    assert split_sections("A" * 200_000) == {"last_paragraph": [(0, 200_000)]}
    assert split_sections(("A" * 60 + "\n") * 2_000)  # lines as long as a heading may be, none with a colon
