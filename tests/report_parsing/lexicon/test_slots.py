"""Forms with slots: every combination is written out, once."""

import pytest

from report_parsing.lexicon.slots import read_forms
from report_parsing.resources import read_cell, read_rows


def test_a_form_without_slots_is_itself():
    assert read_forms("edema|lung edema") == ("edema", "lung edema")


def test_every_combination_is_written_out():
    assert read_forms("{side} {side}") == ("left left", "left right", "right left", "right right")
    assert read_forms("left|{side}") == ("left", "right")


def test_an_unknown_slot_is_an_error():
    with pytest.raises(KeyError, match="nothing"):
        read_forms("{nothing}")


def test_every_slot_is_used():
    cells = [row["forms"] for name in ("cues", "observations", "locations") for row in read_rows(f"{name}.csv")]
    for row in read_rows("slots.csv"):
        assert any(f"{{{row['slot']}}}" in cell for cell in cells), row["slot"]
        assert len(set(read_cell(row["forms"]))) == len(read_cell(row["forms"])), row["slot"]
