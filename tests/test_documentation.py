"""The pages hold what they say: the site is built strictly, links lead somewhere, and commands are understood."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from radalign.command.parser import build_parser
from store.code import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GUIDES = ("your_archive", "train", "compare", "use_a_model", "operate")
TARGETS = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands(page: Path) -> list[list[str]]:
    """The words of every command in the indented blocks of a page, without the variables set before it."""
    found = []
    blocks = "\n".join(line for line in page.read_text().split("\n") if line.startswith("    "))
    for line in blocks.replace("\\\n", " ").split("\n"):
        for part in line.split("&&"):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:  # a quoted apostrophe of a sentence in a nested list
                continue
            while words and re.fullmatch(r"[A-Z_0-9]+=.*", words[0]):
                words.pop(0)
            if words:
                found.append(words)
    return found


def is_understood(words: list[str]) -> bool:
    """Whether a command names what is there; other programs are taken to know theirs."""
    match words:
        case ["radalign", *arguments]:
            try:
                build_parser().parse_args(arguments)
            except SystemExit as end:
                return end.code == 0
        case ["make", target, *_]:
            return target in TARGETS
        case ["python", "-m", module, *_]:
            return importlib.util.find_spec(module) is not None
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_is_understood(page):
    assert [words for words in commands(page) if not is_understood(words)] == []


def test_a_command_that_is_not_there_is_found():
    for text in ("radalign train medklip", "radalign predict medklip", "make everything", "python -m nothing"):
        assert not is_understood(text.split())
    assert len([words for page in PAGES for words in commands(page) if words[0] == "radalign"]) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path = link.partition("#")[0]
        assert not path or "://" in path or (page.parent / path).exists(), f"{link} is not there"


@pytest.mark.parametrize(
    "path", [*sorted((ROOT / ".github").rglob("*.yml")), ROOT / "CITATION.cff"], ids=lambda p: p.name
)
def test_forms_and_citation_can_be_read(path):
    assert yaml.safe_load(path.read_text())


def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path):
    site = tmp_path / "site"
    options = ["--quiet", "--fail-on-warning", "--keep-going"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), str(site)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in GUIDES:
        assert f"guides/{name}.html" in (site / "index.html").read_text()
    reference = (site / "api.html").read_text()
    for name in ("load", "Model.zero_shot", "evaluate", "pretrain"):
        assert f'id="radalign.{name}"' in reference
    for page in site.rglob("*.html"):
        assert not re.search(
            r'<(?:script|img|iframe)[^>]*src="(?:https?:)?//|<link[^>]*href="(?:https?:)?//', page.read_text()
        )
    for sheet in site.rglob("*.css"):
        assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", sheet.read_text()), sheet
