import csv
import io
import re
from dataclasses import replace

import pytest

from evaluation.metrics.statistics import Comparison
from evaluation.results.summary import MeasuredValue
from evaluation.results.text_tables import SIMULATION_NOTE
from evaluation.tables.comparisons import Pair
from evaluation.tables.formats import as_csv, as_latex, as_markdown
from evaluation.tables.paper_tables import Line, PaperTable
from evaluation.tables.texts import TablesDocument

FOUND = MeasuredValue(0.9123, 0.9, 0.925, None, 1, 1, 3, ("run1",))
FAILED = MeasuredValue(None, None, None, None, 0, 0, 0, notes=("failed: no memory",), simulated=True)
LINES = (
    Line("mgca", "MGCA (R50)", "covidx", "linear_probe", "1 %", "auroc", "macro", FOUND, 0.9, (0, 1)),
    Line("a|b_c&<d>", "", "covidx", "linear_probe", "10 %", "auroc", "macro", None, 0.85),
    Line("medklip", "", "covidx", "linear_probe", "1 %", "auroc", "macro", FOUND, None),
    Line("gloria", "", "covidx", "linear_probe", "1 %", "auroc", "macro", FAILED, 0.5),
)
TABLE = PaperTable("A paper", "Table 1: 100 % & more", ("Holds for all.",), LINES, ("first", "50 % of it"))
FOUND_DIFFERENCE = Comparison(0.02, -0.01, 0.05, 0.04)
PAIR = Pair(
    *("covidx", "linear_probe", "1 %", "auroc", 0, 2, "mgca", "medklip", FOUND_DIFFERENCE),
    adjusted_p=0.12,
    pretraining="toy",
)


def document(*tables, **more):
    return TablesDocument(**{"tables": tables, "pairs": [PAIR], "pretrainings": {"toy": False}, **more})


def test_markdown_has_measured_published_and_what_differs():
    text = as_markdown(document(TABLE))
    assert (
        "| method | printed as | data | setting | metric | measured | published | difference | what differs |" in text
    )
    assert "| mgca | MGCA (R50) | covidx | 1 % | auroc | 91.2 [90.0, 92.5] | 90.0 | +1.2 | a, b |" in text
    assert "| a\\|b_c&amp;&lt;d&gt; |  | covidx | 10 % | auroc |  | 85.0 |  |  |" in text
    assert "a: first\n\nb: 50 % of it" in text
    assert "Holds for all." in text
    numbers = "bootstrap | +2.0 [-1.0, +5.0] | 0.040 | 0.120 |"
    assert f"| toy | covidx | linear_probe | 1 % | auroc | macro | 0 | 2 | mgca - medklip | {numbers}" in text
    assert "A split over rows of run-length codes" in text


def test_tables_and_classes_have_a_column_where_they_tell_lines_apart():
    other = Line("mgca", "", "covidx", "grading", "1 %", "auroc", "level 1", None, None)
    text = as_markdown(document(PaperTable("p", "t", (), (*LINES, other))))
    assert "| method | printed as | data | task | setting | metric | class |" in text


def test_a_table_without_lines_says_so():
    assert "Nothing was measured for it." in as_markdown(document(PaperTable("p", "t", (), ())))


def test_csv_holds_fractions_and_whole_sentences():
    rows = list(csv.DictReader(io.StringIO(as_csv(document(TABLE)))))
    assert len(rows) == 4
    first = rows[0]
    assert (float(first["value"]), float(first["published"])) == (0.9123, 0.9)
    assert float(first["difference"]) == pytest.approx(0.0123)
    assert first["what differs"] == "Holds for all. first 50 % of it"
    assert (first["mlflow_runs"], first["method"], first["class"]) == ("run1", "mgca", "macro")
    assert (rows[1]["value"], rows[1]["method"]) == ("", "a|b_c&<d>")


def test_latex_escapes_and_balances():
    text = as_latex(document(TABLE, PaperTable("p", "t", (), ())))
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 1
    assert r"a|b\_c\&\textless{}d\textgreater{}" in text
    assert r"\caption{A paper: Table 1: 100 \% \& more}" in text
    body = text[text.index(r"\begin") : text.index(r"\end{longtable}")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "caption" not in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {8}
    assert not re.search(r"(?<!\\)[%#$_](?!pm)", body.replace("$", ""))


def test_every_format_says_that_a_simulation_is_one():
    for render in (as_markdown, as_latex):
        real = PaperTable("p", "t", (), LINES[:3])
        assert SIMULATION_NOTE in render(document(TABLE))
        assert SIMULATION_NOTE in render(document(real, pretrainings={"phantom": True}))
        assert SIMULATION_NOTE not in render(document(real))


def test_a_failure_and_simulated_images_stand_in_every_format():
    assert "| gloria |  | covidx, simulated | 1 % | auroc | failed | 50.0 |" in as_markdown(document(TABLE))
    assert r"gloria &  & covidx, simulated & 1 \% & auroc & failed & 50.0" in as_latex(document(TABLE))
    row = list(csv.DictReader(io.StringIO(as_csv(document(TABLE)))))[3]
    names = ("data", "state", "value", "simulated")
    assert [row[name] for name in names] == ["covidx", "failed", "", "True"]


def test_what_was_seen_before_stands_on_top():
    leak = "3 of 9 patients are in train."
    assert as_markdown(document(TABLE, leaks=[leak])).splitlines()[2] == f"**{leak}**"
    assert as_latex(document(TABLE, leaks=[leak])).startswith(f"% {leak}")


def test_what_chose_the_settings_is_told_for_what_was_measured():
    text = as_markdown(document(TABLE))
    assert "- linear_probe: The penalty is chosen on the validate split." in text
    assert "- detection:" not in text


def test_every_format_says_which_pretraining_a_number_is_of():
    both = {"toy": False, "phantom": True}
    one = PaperTable("p", "t", (), tuple(replace(line, pretraining="phantom") for line in LINES), TABLE.remarks)
    mixed = PaperTable("p", "t", (), tuple(replace(LINES[0], notes=(), pretraining=name) for name in both))
    for render in (as_markdown, as_latex):
        text = render(document(one, pretrainings=both))
        assert "Measured: networks pretrained on phantom (simulated)." in text
        assert "networks pretrained on toy and phantom (simulated)." in text
        text = render(document(mixed, pretrainings=both))
        assert "Measured: networks" not in text
        assert text.count("phantom (simulated)") == 2
    assert "| method | printed as | pretrained on | data | setting |" in as_markdown(document(mixed, pretrainings=both))
    rows = list(csv.DictReader(io.StringIO(as_csv(document(mixed, pretrainings=both)))))
    assert [row["pretrained on"] for row in rows] == ["toy", "phantom"]


def test_an_outdated_number_says_so_in_every_format():
    note = "outdated: measured on other data than the dataset has now; evaluate again."
    measured = MeasuredValue(0.5, 0.4, 0.6, None, 1, 1, 3, notes=(note,))
    line = Line("mgca", "MGCA", "covidx", "linear_probe", "1 %", "auroc", "macro", measured, 0.9)
    tables = document(PaperTable("Paper", "Table", (), (line, replace(line, measured=replace(measured, notes=())))))
    for text in (as_markdown(tables), as_latex(tables)):
        assert text.count("50.0 [40.0, 60.0], outdated") == 1
    states = [row["state"] for row in csv.DictReader(io.StringIO(as_csv(tables)))]
    assert states == ["outdated", ""]


def test_a_note_in_several_lines_stays_a_comment_of_latex():
    text = as_latex(document(leaks=["seen \\input{x}\n\\input{y}"]))
    assert [line for line in text.splitlines() if "input" in line] == ["% seen \\input{x} \\input{y}"]
