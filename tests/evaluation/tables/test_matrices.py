"""Matrices rank what may be compared, keep pretraining cohorts apart, and are the same in every format."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from evaluation.metrics.statistics import Comparison
from evaluation.tables.build import write_tables
from evaluation.tables.comparisons import Pair
from evaluation.tables.formats import as_latex, as_markdown, matrices_as_csv
from evaluation.tables.matrices import BEST, SECOND, Column, PublishedValue, build_group
from evaluation.tables.matrix_texts import in_words
from evaluation.tables.page import as_html
from evaluation.tables.paper_tables import Line, PaperTable
from evaluation.tables.texts import TablesDocument
from tests.evaluation.tables.home_of_results import fill

ROW = {
    "method": "mgca", "cohort": "chexpert", "task": "linear_probe", "setting": "1 %", "metric": "auroc",
    "class": "macro", "value": 0.9, "low": 0.85, "high": 0.95, "n": 9, "seed": 0, "repeat": 0, "source": "measured",
    "note": "", "mlflow_run": "run", "data_version": "d", "simulated": False,
}  # fmt: skip


def row(method="mgca", value=0.9, **more):
    return {**ROW, "method": method, "value": value, **more}


def pair(first, second, p=0.01, **more):
    place = {"cohort": "chexpert", "task": "linear_probe", "setting": "1 %", "metric": "auroc", "seed": 0, "repeat": 0}
    return Pair(**{**place, **more}, first=first, second=second, comparison=Comparison(0.1, 0.0, 0.2, p), adjusted_p=p)


def only(rows, tables=(), pairs=()):
    """The matrix of the rows, by method and column."""
    (matrix,) = build_group("mimic_cxr", rows, tables, pairs).matrices
    cells = {
        (name, column): cell for name, cells in matrix.rows for column, cell in zip(matrix.columns, cells, strict=True)
    }
    return matrix, cells


HERE = Column("chexpert", "1 %")


def ranks(rows, column=HERE):
    return {name: cell.rank for (name, place), cell in only(rows)[1].items() if place == column and cell}


def test_the_best_and_the_second_of_a_column_are_ranked_by_what_is_printed():
    assert ranks([row("a", 0.9), row("b", 0.8), row("c", 0.7)]) == {"a": BEST, "b": SECOND, "c": 0}
    assert ranks([row("a", 0.9001), row("b", 0.8999), row("c", 0.7)]) == {"a": BEST, "b": BEST, "c": 0}
    assert ranks([row("a", 0.9)]) == {"a": 0}
    outdated = row("a", 0.9, note="outdated: measured on other data than the dataset has now; evaluate again.")
    assert ranks([outdated, row("b", 0.8), row("c", 0.7)]) == {"a": 0, "b": BEST, "c": SECOND}
    assert ranks([row("a", None, note="failed: x"), row("b", 0.8), row("untrained:b", 0.99)]) == {"a": 0, "b": 0}


def test_numbers_on_other_data_have_a_column_of_their_own():
    rows = [row("a", 0.9), row("b", 0.8), row("b", 0.7, data_version="e"), row("c", 0.6, setting="10 %")]
    matrix, cells = only([*rows, row("d", 0.5, simulated=True, data_version="d")])
    assert [(column.setting, column.data_version, column.simulated) for column in matrix.columns] == [
        ("1 %", "d", False),
        ("1 %", "d", True),
        ("1 %", "e", False),
        ("10 %", "d", False),
    ]
    assert cells["b", replace(HERE, data_version="e")].rank == 0


def test_settings_follow_the_share_of_labels_and_only_leading_means_are_shown():
    rows = [row(setting=setting) for setting in ("100 %", "10 %", "1 %", "10 %, tuned")]
    matrix, _ = only([*rows, row(metric="accuracy"), row(**{"class": "Edema"}), row(source="Table 1", setting="5 %")])
    assert [column.setting for column in matrix.columns] == ["1 %", "10 %", "100 %", "10 %, tuned"]


def test_a_method_stands_beside_its_own_untrained_network_and_published_number():
    rows = [row("mgca", 0.9), row("mgca:ITA", 0.8), row("untrained:mgca", 0.5), row("untrained:gloria", 0.4)]
    line = Line("mgca", "MGCA, ViT", "chexpert", "linear_probe", "1 %", "auroc", "macro", None, 0.88)
    known = only(rows)[1]["mgca", HERE].measured
    beside = replace(line, measured=known)
    tables = [
        PaperTable("P", "T", (), (line, beside, replace(beside, metric="accuracy"), replace(beside, setting="10 %")))
    ]
    cells = only(rows, tables)[1]
    assert cells["mgca", HERE].untrained.value == 0.5
    assert cells["mgca", HERE].published == (PublishedValue(0.88, "P, T: MGCA, ViT"),)
    assert cells["mgca:ITA", HERE].untrained is None
    assert cells["mgca:ITA", HERE].published == ()


def test_marks_need_a_difference_in_every_seed_and_repeat():
    rows = [row("a", 0.9), row("b", 0.8), row("untrained:a", 0.5), row("untrained:b", 0.5)]

    def marks(*pairs):
        cells = only(rows, pairs=pairs)[1]
        return cells["a", HERE].marks, cells["b", HERE].marks

    assert marks() == ("", "")
    assert marks(pair("a", "b"), pair("a", "untrained:a"), pair("b", "untrained:b", 0.2)) == ("*†", "")
    assert marks(pair("a", "b"), pair("a", "b", 0.2, repeat=1)) == ("", "")
    assert marks(pair("a", "b", cohort="covidx"), pair("a", "untrained:b")) == ("", "")


def test_means_over_different_numbers_of_classes_have_no_best():
    rows = [row("a", 0.9, n=14), row("b", 0.8, n=13)]
    assert ranks(rows) == {"a": 0, "b": 0}
    assert only(rows, pairs=[pair("a", "b")])[1]["a", HERE].marks == ""
    assert ranks([row("a", 0.9, n=14), row("b", 0.8, n=14), row("c", None, n=0, note="failed: x")])["a"] == BEST


def test_released_weights_have_no_rank_and_keep_their_other_marks():
    rows = [row("a:released", 0.95), row("untrained:a:released", 0.5), row("b", 0.9), row("c:released-small", 0.8)]
    cells = only(rows, pairs=[pair("a:released", "untrained:a:released")])[1]
    assert {name: cell.rank for (name, _), cell in cells.items()} == {"a:released": 0, "b": 0, "c:released-small": 0}
    assert cells["a:released", HERE].marks == "*"
    assert ranks([*rows, row("d", 0.7)]) == {"a:released": 0, "b": BEST, "c:released-small": 0, "d": SECOND}
    assert ranks([row("a:released", 0.9)]) == {"a:released": 0}


def test_imported_runs_are_called_as_comparisons_know_them():
    from evaluation.tables.comparisons import RELEASED
    from tracking.imported import VARIANT

    assert RELEASED == VARIANT


def test_marks_of_a_column_are_of_its_own_data():
    rows = [row(name, value, data_version=version) for name, value in (("a", 0.9), ("b", 0.8)) for version in "de"]
    cells = only(rows, pairs=[pair("a", "b", data_version="e")])[1]
    assert cells["a", replace(HERE, data_version="d")].marks == ""
    assert cells["a", replace(HERE, data_version="e")].marks == "†"


def test_an_outdated_number_says_so_in_every_format():
    note = "outdated: measured on other data than the dataset has now; evaluate again."
    group = build_group("mimic_cxr", [row("a", 0.9, note=note), row("b", 0.8)], (), ())
    document = TablesDocument([], [], {"toy": False}, groups=[group])
    for text in (as_html(document), as_markdown(document), as_latex(document)):
        assert re.search(r"90\.0.{1,40}\[85\.0, 95\.0\], outdated", text)
        assert not re.search(r"80\.0.{1,40}\[85\.0, 95\.0\], outdated", text)
    found = list(csv.DictReader(io.StringIO(matrices_as_csv(document))))
    assert [(line["method"], line["state"]) for line in found] == [("a", "outdated"), ("b", "")]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder with the tables of a home whose networks were pretrained on two cohorts, and the document."""
    from ingestion.workspace import Workspace

    workspace = Workspace(home=str(tmp_path_factory.mktemp("home")), cohort="phantom")
    fill(workspace, ["convirt", "mgca"], [("linear_probe", "chexpert", "1 %"), ("linear_probe", "chexpert", "10 %")])
    found = write_tables(workspace, "http://127.0.0.1:5000", print)
    return found.page.parent, found.document


def test_networks_of_each_pretraining_have_their_own_matrices(written):
    _, document = written
    assert [group.pretraining for group in document.groups] == ["mimic_cxr", "phantom"]
    values = [cell.measured.value for group in document.groups for cell in group.cells()]
    assert values == pytest.approx([0.6, 0.6, 0.62, 0.62, 0.8, 0.8, 0.82, 0.82])
    measured = [line for table in document.tables for line in table.lines if line.measured]
    of_trained = {(line.pretraining, line.measured.value) for line in measured if line.measured.value > 0.55}
    assert len(of_trained) == 4  # the tables of the papers drop no pretraining
    assert {name for name, value in of_trained if value > 0.7} == {"phantom"}


def test_every_format_has_the_same_numbers(written):
    folder, _ = written
    markdown, latex, page = (
        (folder / name).read_text(encoding="utf-8") for name in ("tables.md", "tables.tex", "index.html")
    )
    assert re.search(r"\| mgca \| \*\*82\.0\*\*\\\*† \[\d+\.\d, \d+\.\d\] \|", markdown)
    assert re.search(r"\| convirt \| <u>80\.0</u>\\\* ", markdown)
    assert re.search(r"mgca & \\textbf\{82\.0\}\*\$\\dagger\$ \{\\small \[", latex)
    assert re.search(r"convirt & \\underline\{80\.0\}\*", latex)
    assert re.search(r'<td class="rank1"><a href="#from-\d+"[^>]*>82\.0</a>\*†', page)
    assert re.search(r'<td class="rank2"><a href="#from-\d+"[^>]*>80\.0</a>\*', page)
    for text in (markdown, latex.replace(r"\_", "_"), page):
        assert text.index("Pretrained on mimic_cxr") < text.index("Pretrained on phantom (simulated)")
    assert page.index("Pretrained on phantom") < page.index("The tables of the papers")
    rows = list(csv.DictReader((folder / "matrices.csv").open()))
    best = [row for row in rows if row["rank"] == "1"]
    assert [(row["pretraining"], row["method"], row["setting"], row["marks"]) for row in best] == [
        (cohort, "mgca", setting, "*†") for cohort in ("mimic_cxr", "phantom") for setting in ("1 %", "10 %")
    ]
    assert {row["kind"] for row in rows} == {"measured", "untrained", "published"}
    assert all(row["source"] for row in rows if row["kind"] == "published")


HOSTILE = '<b>|&_#%$^"x</b>'


def test_names_are_escaped_in_every_format():
    group = build_group(HOSTILE, [row(HOSTILE, 0.9), row("b", 0.8), row("c", None, note=f"failed: {HOSTILE}")], (), ())
    document = TablesDocument([], [], {"toy": False}, groups=[group])
    assert HOSTILE not in as_html(document)
    assert html.escape(HOSTILE).replace("&quot;", "&#34;") in as_html(document)
    assert "<b>" not in as_markdown(document)
    assert r"\textless{}b\textgreater{}|\&\_\#\%\$\textasciicircum{}" in as_latex(document)
    found = list(csv.DictReader(io.StringIO(matrices_as_csv(document))))
    assert [(line["method"], line["state"]) for line in found] == [(HOSTILE, ""), ("b", ""), ("c", "failed")]


def test_a_reason_stands_where_a_number_is_missing():
    matrix, _ = only([row("a", None, note="failed: no memory")])
    (line,) = in_words(matrix).lines
    assert (line.cells[0].value, line.cells[0].hint) == ("failed", "failed: no memory")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex to compile the tables with")
def test_latex_compiles(written, tmp_path):
    folder, _ = written
    preamble = r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage{booktabs,longtable}\begin{document}"
    (tmp_path / "page.tex").write_text(f"{preamble}\n\\input{{{folder / 'tables.tex'}}}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-1500:]
    assert (tmp_path / "page.pdf").stat().st_size > 10_000
