from __future__ import annotations

import pandas as pd

from cohorts.described import manifest_reports, texts
from cohorts.described.manifest_reports import _first_of_study
from cohorts.described.texts import TextsByName


def make(names, lines, said):
    return TextsByName(pd.Series(names), pd.Series(lines), pd.Series(said))


def test_the_first_of_a_name_counts_and_other_names_have_no_text():
    found = make(["a", "b", "a"], [1, 0, 0], ["zero", "one"])
    assert (found.find("a"), found.find("b"), found.find("c")) == ("one", "zero", "")


def test_names_of_one_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(texts, "hash", lambda _: 7, raising=False)
    found = make(["a", "b", "c"], [0, 1, 2], ["zero", "one", "two"])
    assert [found.find(name) for name in "abcd"] == ["zero", "one", "two", ""]


def test_a_study_has_the_first_report_that_one_of_its_rows_names(monkeypatch):
    monkeypatch.setattr(manifest_reports, "ROWS_AT_ONCE", 2)
    own = pd.Series(["", "x", "y", "x", ""], dtype="str")
    keys = pd.Series(["s1", "s1", "s1", "s2", "s3"])
    chosen, differs = _first_of_study(own, keys)
    assert chosen.tolist() == ["x", "x", "x", "x", ""]
    assert differs.tolist() == [False, False, True, False, False]


def test_reports_that_all_rows_of_their_studies_name_are_not_copied():
    own = pd.Series(["x", "x", "z"], dtype="str")
    chosen, differs = _first_of_study(own, pd.Series(["s1", "s1", "s2"]))
    assert chosen is own
    assert not differs.any()
