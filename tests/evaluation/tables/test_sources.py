"""From every number of a page one gets to the archive that it was measured on, and to the one it was trained on."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from evaluation.results.latest import latest_by_pretraining
from evaluation.tables.build import write_tables
from evaluation.tables.sources import Sources, find_sources
from ingestion.workspace import Workspace
from tests.browser import CHROMIUM, Browser
from tests.evaluation.tables.home_of_results import PLACES, build_home

METHODS = ["medklip", "mgca"]
SILENT = lambda _: None  # noqa: E731


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workspace:
    """Two methods that were pretrained on two cohorts, and the page."""
    workspace = build_home(tmp_path_factory.mktemp("two"), METHODS)
    write_tables(workspace, "http://127.0.0.1:5000", SILENT)
    return workspace


@pytest.fixture(scope="module")
def page(place) -> Path:
    return place.home_path() / "results" / "tables" / "index.html"


@pytest.fixture(scope="module")
def archives(place) -> dict[str, Path]:
    return {"mimic_cxr": place.home_path().parent / "archive <of> mimic", "phantom": place.folder("archive")}


class Links(HTMLParser):
    """Every link of a page, and every name that a link may go to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.links += [found["href"]] if tag == "a" else []
        self.names |= {found["id"]} if "id" in found else set()


def read_links(page: Path) -> Links:
    links = Links()
    links.feed(page.read_text(encoding="utf-8"))
    return links


def target(page: Path, link: str) -> Path:
    return Path(unquote(urlsplit(urljoin(page.as_uri(), link)).path))


def test_a_preset_that_is_none_of_a_paper_is_told_beside_the_printed_numbers(page):
    text = (page.parent / "tables.md").read_text(encoding="utf-8")
    assert "Measured: mgca was trained with preset demo." in text
    assert "Measured: medklip was trained with preset demo, 1 changed." in text


def test_every_link_goes_somewhere_that_is_there(page):
    found = read_links(page)
    assert {link[1:] for link in found.links if link.startswith("#")} <= found.names
    files = [link for link in found.links if not link.startswith("#")]
    assert all(target(page, link).exists() for link in files)
    assert len(files) > 40


def test_every_measured_number_has_a_link(page):
    text = re.sub(r"<details.*?</details>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    rows = re.findall(r'<tr class="(?:measured|untrained)"><th scope="row">\w+</th>(.*?)</tr>', text, re.DOTALL)
    cells = [cell for row in rows for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
    assert len(cells) == 2 * 2 * len(METHODS) * len(PLACES)
    assert [cell for cell in cells if not re.match(r'<a href="#from-\d+"', cell)] == []
    numbers = re.findall(r"<tr data-method=[^>]*data-measured>(.*?)</tr>", text, re.DOTALL)
    of_papers = [row for row in numbers if 'data-sort="0' in row and "bootstrap" not in row]
    assert len(of_papers) > 2 * len(METHODS)
    assert [row for row in of_papers if '<a href="#from-' not in row] == []


def test_a_source_has_everything_that_made_its_numbers(place, archives):
    pretrained = latest_by_pretraining(place)
    folder = place.home_path() / "results" / "tables"
    sources = find_sources(
        [(one, rows.to_pylist()) for one, rows in pretrained], folder, {"phantom-mgca": "http://x/1"}
    )
    (source,) = (one for one in sources if one.anchor == sources.link("phantom", "untrained:mgca", "covidx")[1:])
    (run,) = source.runs
    assert (run.training.run.checkpoint_digest, run.training.run.seed) == ("mgca phantom trained", 0)
    assert (run.settings, run.page, run.folder.text) == ("preset demo", "http://x/1", "checkpoints/phantom-mgca")
    assert (run.data.name, run.data.version, run.data.archive.text) == ("phantom (simulated)", "v", "phantom/archive")
    (data,) = source.data
    assert (data.name, data.version, data.archive.text) == ("covidx (simulated)", "d", "")
    assert [(file.task, file.what) for file in source.files] == [
        ("linear_probe", setting + network) for network in ("", " untrained") for setting in ("1 %", "10 %", "100 %")
    ]
    assert source.computed_on == "cpu, fp32"
    assert sources.archive("mimic_cxr").text == str(archives["mimic_cxr"])
    assert sources.link("mimic_cxr", "gloria", "covidx") == Sources().link("phantom", "mgca", "covidx") == ""


def test_addresses_in_the_home_are_relative_and_others_escaped(page, archives):
    links = read_links(page).links
    assert archives["mimic_cxr"].as_uri() in links
    assert "../../phantom/archive" in links
    assert not [link for link in links if str(page.parents[2]) in unquote(link)]
    assert "archive <of>" not in page.read_text(encoding="utf-8")


def test_a_page_holds_no_text_of_a_report(page, archives):
    text = unescape(page.read_text(encoding="utf-8"))
    reports = [path.read_text() for root in archives.values() for path in root.rglob("s*.txt")]
    sentences = {part.strip() for report in reports for part in report.split(".") if len(part.strip()) > 20}
    assert len(sentences) > 5
    assert [sentence for sentence in sentences if sentence in text] == []


@pytest.fixture
def browser(tmp_path):
    if not CHROMIUM:
        pytest.skip("no chromium to click in")
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


NUMBER = """[...document.querySelectorAll("{where}")].find((one) => one.textContent.startsWith("{value}"))"""
ENTRY = "document.querySelector(location.hash)"


@pytest.mark.parametrize(
    ("cohort", "where", "value"),
    [("mimic_cxr", ".matrix a", "60.0"), ("phantom", ".matrix a", "80.0"), ("phantom", "main td a", "82.0 [")],
)
def test_clicks_lead_from_a_number_to_its_archive(browser, page, archives, cohort, where, value):
    browser.open(page.as_uri())
    browser.click(NUMBER.format(where=where, value=value))
    browser.expect("location.hash.startsWith('#from-')")
    entry = " ".join(browser.evaluate(f"{ENTRY}.innerText").split())
    assert f" pretrained on {cohort} " in entry
    assert ("simulated" in entry) is (cohort == "phantom")
    assert 0 <= browser.evaluate(f"{ENTRY}.getBoundingClientRect().top") < 800  # in sight
    browser.click(f"{ENTRY}.querySelector('.archive a')")
    browser.expect("document.title.startsWith('Index of')")
    opened = Path(unquote(urlsplit(browser.evaluate("location.href")).path))
    assert opened == archives[cohort]
    names = browser.evaluate("[...document.querySelectorAll('a')].map((one) => one.textContent)")
    assert {path.name for path in archives[cohort].iterdir()} <= {name.rstrip("/") for name in names}
