import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohorts.described.dicom.joining import choose_attribute, join_files
from cohorts.errors import CohortError
from report_parsing.errors import ReportError
from tests.cohorts.described.dicom.export import (
    item,
    open_tree,
    reasons,
    scan_tree,
    studies,
    write_object,
    write_report,
)

TABLE = "report: {table: befunde.csv, key: AccessionNumber, text: Befund}"


def read_all(folder, description):
    """The report of each study by the path of its image, from a new reader."""
    archive = open_tree(folder, description)
    found = studies(archive.scan())
    again = open_tree(folder, description)
    return {path: again.read_report(study) for path, study in found.items()}


@pytest.fixture
def tree(tmp_path):
    for number in range(4):
        write_object(tmp_path / "tree" / f"{number}", number)
    return tmp_path / "tree"


def test_a_table_in_any_order_is_joined_by_the_accession_number(tree):
    rows = [f'"A{number:05d}";"FINDINGS: Nr. {number} ist unauffällig."' for number in (3, 1, 0, 9)]
    (tree / "befunde.csv").write_text("\n".join(["AccessionNumber;Befund", *rows]), encoding="latin-1")
    assert read_all(tree.parent, TABLE) == {
        str(number): f"FINDINGS: Nr. {number} ist unauffällig." for number in (0, 1, 3)
    }
    scan = scan_tree(tree.parent, TABLE)
    assert reasons(scan) == {"2": "no_report"}
    assert "Of 4 reports, joined by accession, 3 belong to studies that can be used, and 1 to none." in scan.notes


def test_texts_with_one_key_are_joined_in_the_order_of_the_table(tree):
    rows = ["A00001,FINDINGS: first", "A00002,FINDINGS: other", "A00001,ADDENDUM: second", "A00001,FINDINGS: first"]
    (tree / "befunde.csv").write_text("\n".join(["AccessionNumber,Befund", *rows]))
    assert read_all(tree.parent, TABLE)["1"] == "FINDINGS: first\n\nADDENDUM: second"


def test_a_table_gives_sections_and_another_attribute(tree):
    (tree / "r.csv").write_text("nr,f,i\nS1,The lungs are clear.,\nS2,Effusion.,Worse.\n")
    description = "report: {table: r.csv, key: nr, by: study_id, sections: {findings: f, impression: i}}"
    found = read_all(tree.parent, description)
    assert found == {"1": "FINDINGS: The lungs are clear.", "2": "FINDINGS: Effusion.\n\nIMPRESSION: Worse."}


def test_text_files_are_found_by_the_key_in_their_names(tree):
    folder = tree / "reports"
    folder.mkdir()
    for name, text in {
        "A00000.txt": "FINDINGS: zero",
        "Befund_A00001_20200131.TXT": "FINDINGS: one",
        "A00001_2.txt": "ADDENDUM: more",
        "PAT0002-A00002": "FINDINGS: two",
        "2020-A00003-77123.txt": "FINDINGS: of another key",
        "A00003.pdf": "%PDF",
    }.items():
        (folder / name).write_text(text)
    description = "report: {folder: reports, key: accession}"
    assert read_all(tree.parent, description) == {
        "0": "FINDINGS: zero",
        "1": "ADDENDUM: more\n\nFINDINGS: one",
        "2": "FINDINGS: two",
    }
    scan = scan_tree(tree.parent, description)
    assert reasons(scan) == {"3": "no_report"}
    assert any("2 files have names that tell no study" in note for note in scan.notes)
    assert [study["report_path"] for study in studies(scan).values()] == [
        "reports/A00000.txt",
        None,
        "reports/PAT0002-A00002",
    ]


def test_the_last_verified_structured_report_counts(tree):
    texts = {
        "a": ("20200201", "VERIFIED", "old"),
        "b": ("20200202", "VERIFIED", "new"),
        "c": ("20200203", "UNVERIFIED", "draft"),
    }
    for name, (day, flag, text) in texts.items():
        items = [item("TEXT", "121071", "Finding", TextValue=text)]
        write_report(tree / "sr" / name, 1, items, ContentDate=day, VerificationFlag=flag)
    write_report(
        tree / "sr" / "d", 2, [item("TEXT", "121071", "Finding", TextValue="only")], VerificationFlag="UNVERIFIED"
    )
    write_report(tree / "sr" / "dose", 3, [], SOPClassUID="1.2.840.10008.5.1.4.1.1.88.67")
    assert read_all(tree.parent, "report: {sr: true}") == {"1": "FINDINGS:\nnew", "2": "FINDINGS:\nonly"}
    found = reasons(scan_tree(tree.parent, "report: {sr: true}"))
    assert found == {
        **dict.fromkeys(("0", "3"), "no_report"),
        **{f"sr/{name}": "no_image" for name in ("a", "b", "c", "d", "dose")},
    }


def test_a_structured_report_gives_its_texts_in_order_and_no_names(tree):
    items = [
        item("PNAME", "121008", "Person Observer Name", "HAS OBS CONTEXT", PersonName="Doctor^Who"),
        item("TEXT", "121029", "Subject Name", "HAS OBS CONTEXT", TextValue="Jane Doe"),
        item("CONTAINER", "121060", "History", ContentSequence=[item("TEXT", "x", "Text", TextValue="Cough.")]),
        item(
            "CONTAINER",
            "121070",
            "Findings",
            ContentSequence=[
                item("TEXT", "121071", "Finding", TextValue="Clear lungs.\r\nNo effusion."),
                item("PNAME", "121008", "Person", PersonName="Doctor^Who"),
                item("TEXT", "99", "Herz", TextValue="Größe normal."),
            ],
        ),
        item("TEXT", "121073", "Impression", TextValue="Normal."),
        item("TEXT", "99", "Empfehlung", TextValue="Keine."),
    ]
    write_report(tree / "sr", 1, items, SpecificCharacterSet="ISO_IR 192")
    text = read_all(tree.parent, "report: {sr: true}")["1"]
    assert text == (
        "INDICATION:\nCough.\nFINDINGS:\nClear lungs.\nNo effusion.\nGröße normal.\n"
        "IMPRESSION:\nNormal.\nEMPFEHLUNG:\nKeine."
    )


def test_a_damaged_structured_report_is_a_report_error(tree):
    path = write_report(tree / "sr", 1, [item("TEXT", "121071", "Finding", TextValue="x" * 100)])
    archive = open_tree(tree.parent, "report: {sr: true}")
    study = studies(archive.scan())["1"]
    path.write_bytes(path.read_bytes()[:-120])
    with pytest.raises(ReportError):
        archive.read_report(study)
    path.unlink()
    with pytest.raises(ReportError, match="cannot be opened"):
        archive.read_report(study)


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("report: {table: gone.csv, key: a, text: b}", "no table gone.csv"),
        ("report: {table: ../gone.csv, key: a, text: b}", "does not lie below"),
        ("report: {folder: gone, key: accession}", "no reports in the folder gone"),
        ("report: {folder: ../gone, key: accession}", "does not lie below"),
        ("report: {folder: reports, key: accession, by: name}", "choose accession, study or study_id"),
    ],
)
def test_reports_that_are_not_there_end_the_run_in_one_sentence(tree, description, words):
    with pytest.raises(CohortError, match=words):
        scan_tree(tree.parent, description)


def test_the_attribute_follows_from_the_key():
    assert choose_attribute("Accession Number", "") == choose_attribute("Auftragsnr", "") == "accession"
    assert choose_attribute("StudyInstanceUID", "") == "study"
    assert choose_attribute("Nr", "study-id") == "study_id"


def test_a_uid_is_not_found_in_a_longer_one():
    rows = pd.DataFrame({"patient": ["P"], "accession": [""], "study": ["1.2.3"], "study_id": [""]})
    assert join_files(["r_1.2.3.txt", "1.2.3.4.txt", "1.2.txt"], rows, "study") == {"1.2.3": ["r_1.2.3.txt"]}


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=8, unique=True), st.randoms(use_true_random=False))
def test_every_file_that_is_named_by_a_key_is_found(numbers, order):
    keys = [f"{number}" for number in numbers]
    rows = pd.DataFrame({"patient": "P", "accession": keys, "study": "", "study_id": ""})
    paths = [f"r/befund_{key}.txt" for key in keys]
    order.shuffle(paths)
    assert join_files(paths, rows, "accession") == {key: [f"r/befund_{key}.txt"] for key in keys}


def test_structured_reports_may_be_joined_by_the_accession_number(tree):
    items = [item("TEXT", "121071", "Finding", TextValue="clear")]
    write_report(tree / "sr", 1, items, StudyInstanceUID="1.9", AccessionNumber="A00002")
    assert read_all(tree.parent, "report: {sr: true, key: accession}") == {"2": "FINDINGS:\nclear"}


def test_a_table_names_text_files(tree):
    (tree / "texts").mkdir()
    (tree / "texts" / "one.txt").write_text("FINDINGS: one")
    (tree.parent / "out.txt").write_text("FINDINGS: elsewhere")
    rows = ["A00001,texts\\one.txt", "A00002,texts/two.txt", "A00003,../out.txt"]
    (tree / "r.csv").write_text("\n".join(["acc,file", *rows]))
    description = "report: {table: r.csv, key: acc, file: file}"
    assert read_all(tree.parent, description) == {"1": "FINDINGS: one"}
    found = reasons(scan_tree(tree.parent, description))
    assert found == {"0": "no_report", "texts/two.txt": "missing_report", "3": "path_outside_root"}
