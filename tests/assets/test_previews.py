"""What the pages of Dagster show of values that come from an archive."""

import re

import cv2
import numpy as np
import pytest

from assets import previews

LINK = re.compile(r"(?<!\\)\]\(")
PNG = cv2.imencode(".png", np.zeros((64, 64), np.uint8))[1].tobytes()
HOSTILE = ("a|b", "a\nb", "a\\|b", "<img src=x>", "![x](http://evil.example)", "`a", "\r\n\r\n# title")


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_one_cell(value):
    lines = previews.markdown_table(("attribute", "images"), [(value, 3)]).md_str.split("\n")
    assert len(lines) == 3
    assert lines[2].replace("\\\\", "").replace("\\|", "").count("|") == 3
    assert "<" not in lines[2]
    assert not LINK.search(lines[2])
    assert len(lines[2].splitlines()) == 1


@pytest.mark.parametrize("value", HOSTILE)
def test_a_sentence_is_one_item(value):
    [line] = previews.markdown_list([value]).md_str.splitlines()
    assert line.startswith("- ")
    assert "<" not in line
    assert not LINK.search(line)


@pytest.mark.parametrize("name", [*HOSTILE, "x](http://evil.example) ![y", "]"])
def test_a_picture_has_one_address(name):
    text = previews.picture(PNG, name).md_str
    assert len(LINK.findall(text)) == 1
    assert "](data:image/" in text
    assert len(text.splitlines()) == 1
