"""The page in a real browser, where there is one: what it shows, what it refuses to run, sorting and filtering."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evaluation.errors import EvaluationError
from evaluation.metrics.statistics import Comparison
from evaluation.results.summary import MeasuredValue
from evaluation.results.text_tables import SIMULATION_NOTE
from evaluation.results.trainings import Training
from evaluation.tables.comparisons import Pair
from evaluation.tables.page import as_html
from evaluation.tables.paper_tables import Line, PaperTable
from evaluation.tables.sources import DataSource, FileSource, Place, RunSource, Source, Sources
from evaluation.tables.texts import TablesDocument
from tracking.runs import TrainedRun

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = '"><img src=x onerror="document.title=1"><script>document.title=2</script>'
FAILURE = f"failed: {HOSTILE}"
LINK = "http://127.0.0.1:5000/#/experiments/1/runs/"


def measured(value, *runs, note="", **more):
    return MeasuredValue(value, None, None, None, max(1, len(runs)), 1, 3, runs, (note,) if note else (), **more)


SIMULATION = measured(0.35, "unknown", simulated=True)
LINES = (
    Line(
        "mgca",
        "MGCA",
        "covidx",
        "linear_probe",
        "1 %",
        "auroc",
        "macro",
        measured(0.9, "run9"),
        0.8,
        (0,),
        pretraining="toy",
    ),
    Line(
        "convirt",
        "",
        "covidx",
        "linear_probe",
        "1 %",
        "auroc",
        "macro",
        measured(0.1, "run1", "run2"),
        0.2,
        pretraining="toy",
    ),
    Line("gloria", "", "chexpert", "linear_probe", "1 %", "auroc", "macro", None, 0.3),
    Line("lrclr", "", "chexpert", "linear_probe", "1 %", "auroc", "macro", measured(None, note=FAILURE), None),
    Line("chexzero", "", "chexpert", "grading", "10 %", "auroc", "macro", SIMULATION, 1.0),
)
PAIR = Pair("covidx", "linear_probe", "1 %", "auroc", 0, 0, "mgca", HOSTILE, Comparison(0.1, 0.0, 0.2, 0.04))
SECOND = Pair("covidx", "linear_probe", "1 %", "auroc", 0, 0, "mgca", "gloria", Comparison(0.1, 0.0, 0.2, 0.04))
PAPERS = [
    PaperTable("Paper A", HOSTILE, (HOSTILE,), LINES, (HOSTILE,)),
    PaperTable("Paper B", "Other", (), LINES[:1], ("first",)),
    PaperTable("Paper C", "Empty", (), ()),
]
PLACE = Place(HOSTILE, "../../x")
DATA = DataSource(HOSTILE, HOSTILE, PLACE, PLACE, PLACE)
TRAINING = Training(TrainedRun("mgca", "f", "o", "run9", "v", 0, HOSTILE, HOSTILE), Path(HOSTILE), "demo", (HOSTILE,))
FILE = FileSource(HOSTILE, HOSTILE, PLACE)
SOURCES = Sources(
    {
        ("toy", method, "covidx"): Source(
            *(f"from-{number}", HOSTILE, method, (RunSource(TRAINING, PLACE, DATA, LINK + method),), ("c",), (DATA,)),
            (FILE,),
        )
        for number, method in enumerate(("mgca", "convirt"), start=1)
    }
)
PAGE = as_html(TablesDocument(PAPERS, [PAIR, SECOND], {HOSTILE: False}, [HOSTILE]), SOURCES)


class Elements(HTMLParser):
    """Every start tag, as a browser would read it."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def elements(page, tag):
    parser = Elements()
    parser.feed(page)
    return [attributes for name, attributes in parser.found if name == tag]


def test_every_measured_number_links_to_where_it_is_from():
    links = [link["href"] for link in elements(PAGE, "a") if link["href"].startswith("#from")]
    assert links == ["#from-1", "#from-2", "#from-1"]
    assert re.search(r'<a href="#from-1"[^>]*>90.0</a>', PAGE)
    named = [division["id"] for division in elements(PAGE, "div") if "id" in division]
    assert named == ["from-1", "from-2"]
    assert [link["href"] for link in elements(PAGE, "a") if link["href"].startswith(LINK)] == [
        f"{LINK}mgca",
        f"{LINK}convirt",
    ]


def test_a_difference_of_two_methods_links_to_both():
    line = replace(LINES[0], method="mgca - convirt")
    assert SOURCES.links(line) == ["#from-1", "#from-2"]
    assert SOURCES.links(replace(line, method="untrained:mgca")) == ["#from-1"]
    assert SOURCES.links(replace(line, measured=None)) == SOURCES.links(replace(line, pretraining="other")) == []


def test_names_are_escaped_and_nothing_is_loaded_from_elsewhere():
    assert html.escape(HOSTILE, quote=False).replace('"', "&#34;") in PAGE
    assert elements(PAGE, "img") == elements(PAGE, "link") == []
    assert elements(PAGE, "script") == [{}]
    (style,) = re.findall(r"<style>(.*?)</style>", PAGE, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style


def test_an_address_that_is_none_is_refused():
    (source, *_) = SOURCES
    source = replace(source, runs=(replace(source.runs[0], page="javascript:alert(1)"),))
    with pytest.raises(EvaluationError, match="must begin with http"):
        as_html(TablesDocument([], [], {}), Sources({("toy", "mgca", "covidx"): source}))


def test_a_simulation_says_so_on_top_and_in_its_rows():
    assert SIMULATION_NOTE in PAGE.split("</header>")[0]
    assert PAGE.count('<td class="data">chexpert <span class="simulated">simulated</span></td>') == 1
    real = as_html(TablesDocument(PAPERS[1:], [], {"toy": False}))
    assert SIMULATION_NOTE not in real
    assert "</span>" not in real
    assert SIMULATION_NOTE in as_html(TablesDocument(PAPERS[1:], [], {"phantom": True}))


def test_what_was_seen_before_is_told_first():
    leak = "3 of 9 patients are in train."
    header = as_html(TablesDocument(PAPERS, [], {"toy": False}, [leak])).split("</header>")[0]
    assert header.index(leak) < header.index(SIMULATION_NOTE)
    assert "<li>" not in as_html(TablesDocument(PAPERS, [], {"toy": False})).split("</header>")[0]


def test_a_failure_has_its_reason_as_a_tooltip():
    (failed,) = (span for span in elements(PAGE, "span") if "title" in span)
    assert failed["title"] == FAILURE
    assert "failed</span>" in PAGE


def test_every_table_is_in_the_contents():
    sections = [section["id"] for section in elements(PAGE, "section") if section.get("id", "").startswith("table")]
    assert [link["href"] for link in elements(PAGE, "a") if link["href"].startswith("#table")] == [
        f"#{name}" for name in sections
    ]
    assert len(sections) == len(PAPERS)


NOTE = """
const noted = [];
function note() {
  const rows = [...document.querySelector("tbody").rows].filter((row) => !row.hidden);
  noted.push([count.textContent, ...rows.map((row) => row.cells[0].textContent)].join(" "));
  document.title = JSON.stringify(noted);
}
"""


@pytest.fixture
def browse(tmp_path):
    """What a reader sees in the first table each time that a script notes it: the count, then the methods."""
    if not BROWSER:
        pytest.skip("no chromium to look at the page with")

    def look(script):
        # the test's own script is let in by taking the policy out; that the policy works is a test of its own
        page = re.sub(r"<meta http-equiv[^>]*>", "", PAGE)
        document = _dump(page.replace("</body>", f"<script>{NOTE}{script}</script></body>"), tmp_path)
        return json.loads(html.unescape(re.search("<title>(.*?)</title>", document)[1])), document

    return look


def _dump(page, folder):
    """The document that the browser has made of the page."""
    path = folder / "index.html"
    path.write_text(page, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command = [BROWSER, *options, f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_click_sorts_by_number_and_keeps_what_is_missing_last(browse):
    noted, document = browse(
        "const button = document.querySelectorAll('th button')[6];" + "button.click(); note();" * 2
    )
    assert noted == [
        "8 of 8 rows convirt chexzero mgca gloria lrclr",
        "8 of 8 rows mgca chexzero convirt gloria lrclr",
    ]
    assert document.count('aria-sort="descending"') == 1


def test_filters_hide_rows_and_empty_tables(browse):
    noted, document = browse(
        """
        function use(change) { form.reset(); change(form); form.dispatchEvent(new Event("input")); note(); }
        use((form) => { form.measured.checked = true; });
        use((form) => { form.method.value = "mgca"; });
        use((form) => { form.method.value = "gloria"; });
        use((form) => { form.text.value = "MGCA 80.0"; });
        use((form) => { form.text.value = "paper grading"; });
        use((form) => { form.paper.value = "Paper B"; });
        use((form) => { form.cohort.value = "chexpert"; });
        use((form) => { form.setting.value = "1 %"; form.measured.checked = true; });
        use((form) => { form.task.value = "grading"; });
        """
    )
    assert noted == [
        "7 of 8 rows mgca convirt lrclr chexzero",
        "4 of 8 rows mgca",
        "2 of 8 rows gloria",
        "2 of 8 rows mgca",
        "1 of 8 rows chexzero",
        "1 of 8 rows",
        "3 of 8 rows gloria lrclr chexzero",
        "6 of 8 rows mgca convirt lrclr",
        "1 of 8 rows chexzero",
    ]
    assert 'data-paper="Paper B" hidden="">' in document
    assert "What the published protocols get wrong" in document


@pytest.mark.skipif(not BROWSER, reason="no chromium to look at the page with")
def test_the_pages_policy_lets_its_own_script_run_and_no_other(tmp_path):
    intruder = "<script>document.title = 'broken into'</script>"
    document = _dump(PAGE.replace("</body>", f"{intruder}</body>"), tmp_path)
    assert "8 of 8 rows" in document  # written by the page's own script
    assert "<title>Radalign: measured and published</title>" in document
