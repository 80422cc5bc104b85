"""Dates, sexes and ages in the forms that archives write them."""

from __future__ import annotations

import math

import pandas as pd

from cohorts.archive.facts import read_ages, read_dates, read_sexes, read_words


def test_dates():
    given = pd.Series(["20140915", " 2014-09-15 ", "20141332", "2014", "", "x", "20140915.0"])
    assert read_dates(given).to_list() == ["2014-09-15", "2014-09-15", None, None, None, None, None]


def test_sexes():
    assert read_sexes(pd.Series(["F", "male", " Female", "O", "Unknown", ""])).to_list() == [
        "F",
        "M",
        "F",
        "O",
        None,
        None,
    ]


def test_ages():
    ages = read_ages(pd.Series(["058Y", "61", "0", "", "412", "-3", "nan", "006M", "1e999"])).to_list()
    assert ages[:3] == [58, 61, 0]
    assert all(math.isnan(age) for age in ages[3:])


def test_words():
    assert read_words(pd.Series([" Philips ", " "])).to_list() == ["Philips", None]
