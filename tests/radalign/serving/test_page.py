"""The page in a real browser, where there is one: with the mouse, with keys alone, on a phone and in the dark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from radalign.serving.answers import NOTICE
from tests.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
SHIFT = 8
PAINT = "<img src=x onerror=document.title='broken-in'>"


def by_id(name: str) -> str:
    return f"document.getElementById({json.dumps(name)})"


def text_of(name: str) -> str:
    return f"{by_id(name)}.textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(server, browser) -> Browser:
    browser.resize(1280, 800)
    browser.prefer(prefers_color_scheme="light", prefers_reduced_motion="no-preference")
    browser.open(f"http://127.0.0.1:{server.port}/programs")
    browser.open(f"http://127.0.0.1:{server.port}/")
    browser.expect("document.documentElement.dataset.ready !== undefined")
    return browser


def look(browser: Browser) -> np.ndarray:
    """What is in sight, (rows, columns, 3)."""
    return cv2.imdecode(np.frombuffer(browser.picture(), np.uint8), cv2.IMREAD_COLOR).astype(int)


def open_film(page: Browser, film: Path) -> None:
    page.choose_file(by_id("file"), film)
    page.expect(f"!{by_id('viewers')}.hidden")


def add(page: Browser, finding: str) -> None:
    page.evaluate(f"{by_id('finding')}.focus()")
    page.type(finding)
    page.press("Enter")


def wait_for_rows(page: Browser, rows: int) -> None:
    page.expect(f"{by_id('scores')}.querySelectorAll('input').length === {rows}")
    page.expect(f"!{by_id('stage')}.hasAttribute('aria-busy')")


def test_a_file_and_a_finding_give_scores_and_a_map(page, server, film):
    open_film(page, film)
    assert "90 × 120 pixels" in page.evaluate(text_of("facts"))
    plain = look(page)
    add(page, "effusion")
    wait_for_rows(page, 1)
    answer = server.predict(film.read_bytes(), ["effusion"]).json()
    shown = page.evaluate(text_of("scores"))
    for one in answer["models"]:
        assert f"{one['findings'][0]['score']:.3f}" in shown
    assert shown.count("score, not a probability") == 2
    page.expect("document.querySelectorAll('figure').length === 2")
    canvas = "document.querySelectorAll('figure canvas')[1].getBoundingClientRect()"  # of a model with a fine map
    left, top, width, height = (int(page.evaluate(f"{canvas}.{side}")) for side in ("x", "y", "width", "height"))
    middle = np.s_[top + height // 4 : top + 3 * height // 4, left + width // 3 : left + 2 * width // 3]
    coloured = look(page)
    assert np.ptp(plain[middle], axis=-1).max() == 0
    assert np.ptp(coloured[middle], axis=-1).max() > 30
    page.click(by_id("map"))
    page.expect(f"{by_id('map')}.getAttribute('aria-pressed') === 'false'")
    assert np.ptp(look(page)[middle], axis=-1).max() == 0
    page.click(by_id("invert"))
    page.expect(f"{by_id('invert')}.getAttribute('aria-pressed') === 'true'")
    inverted = look(page)[middle]
    assert np.abs(inverted + plain[middle] - 255).max() <= 2


def test_everything_works_with_keys_alone(page, film):
    open_film(page, film)
    page.press("f")
    for finding in ("effusion", "nodule"):
        page.type(finding)
        page.press("Enter")
    wait_for_rows(page, 2)
    chosen = "[...document.querySelectorAll('#scores input')].findIndex((one) => one.checked)"
    assert page.evaluate(chosen) == 1
    page.press("Escape")
    assert page.evaluate("document.activeElement === document.body")
    page.press("j")
    assert page.evaluate(chosen) == 0
    page.press("m")
    assert page.evaluate(f"{by_id('map')}.getAttribute('aria-pressed')") == "false"
    page.press("]")
    page.expect(f"{by_id('opacity')}.value === '70'")
    page.press("?", modifiers=SHIFT)
    assert page.evaluate(f"{by_id('keys')}.open")
    page.press("Escape")
    page.expect(f"!{by_id('keys')}.open")
    page.evaluate("document.querySelector('figure canvas').focus()")
    for key in ("+", "+"):
        page.press(key)
    page.expect(f"Number({by_id('zoom')}.value) > 1.5")
    page.press("ArrowUp", modifiers=SHIFT)
    page.expect(f"{by_id('level')}.value === '136'")
    page.press("0")
    page.expect(f"{by_id('level')}.value === '128' && {by_id('zoom')}.value === '1'")
    visited = set()
    page.evaluate("document.body.focus(), document.activeElement.blur()")
    for _ in range(30):
        page.press("Tab")
        visited.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        ring = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(f"document.activeElement === document.body || {ring} !== 'none'")
    assert {
        "choose",
        "finding",
        "level",
        "width",
        "zoom",
        "opacity",
        "drag",
        "map",
        "invert",
        "reset",
        "CANVAS",
    } <= visited
    page.evaluate(f"{by_id('finding')}.focus()")
    page.press("Backspace")
    wait_for_rows(page, 1)
    assert page.evaluate(f"{by_id('chips')}.querySelector('button').getAttribute('aria-label')") == "Remove effusion"


def test_every_control_has_a_name(page, film):
    open_film(page, film)
    add(page, "nodule")
    wait_for_rows(page, 1)
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input, canvas[tabindex], a")].filter((one) => one.checkVisibility())
        .filter((one) => !(one.textContent.trim() || one.getAttribute("aria-label") || one.labels?.length))
        .map((one) => one.outerHTML)"""
    )
    assert nameless == []
    assert page.evaluate("document.querySelector('#status').getAttribute('aria-live')") == "polite"
    assert "score" in page.evaluate("document.querySelector('figure canvas').getAttribute('aria-label')")


def test_what_is_typed_and_named_is_text(page, tmp_path, film):
    hostile = tmp_path / f"{PAINT.replace('/', '')}.dcm"
    hostile.write_bytes(film.read_bytes())
    open_film(page, hostile)
    add(page, PAINT)
    wait_for_rows(page, 1)
    assert page.evaluate("document.title") == "Radalign reader"
    assert page.evaluate("document.querySelectorAll('main img').length") == 0
    assert page.evaluate("document.querySelector('#chips span').textContent") == PAINT
    assert hostile.name in page.evaluate(text_of("facts"))
    assert "names no finding" in page.evaluate(text_of("scores"))


def test_what_cannot_be_read_is_said_and_the_image_before_stays(page, tmp_path, film):
    open_film(page, film)
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(film.read_bytes()[:-2000])
    page.choose_file(by_id("file"), broken)
    page.expect(f"!{by_id('problem')}.hidden")
    assert "ends before its pixels do" in page.evaluate(text_of("problem"))
    large = tmp_path / "large.dcm"
    large.write_bytes(bytes(5 << 20))
    page.choose_file(by_id("file"), large)
    page.expect(f"{text_of('problem')}.includes('larger than 4 MiB')")
    add(page, "edema")
    wait_for_rows(page, 1)
    assert page.evaluate(f"{by_id('problem')}.hidden")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off(page, film, scheme):
    page.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    page.resize(390, 844, touch=True)
    open_film(page, film)
    add(page, "effusion in the left costophrenic angle with a very long description of it")
    add(page, "pneumonoultramicroscopicsilicovolcanoconiosispneumonoultramicroscopic")
    wait_for_rows(page, 2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.evaluate("scrollTo(0, 1e6)")
    notice = "document.querySelector('.notice')"
    assert page.evaluate(f"{notice}.textContent") == NOTICE
    assert 0 <= page.evaluate(f"{notice}.getBoundingClientRect().top") < 100
    assert page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) > 600) is (scheme == "light")
