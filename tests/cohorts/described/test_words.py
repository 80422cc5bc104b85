"""What words of a manifest mean, against the standard library where it knows."""

from __future__ import annotations

import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohorts.described.words import read_age, read_dates, read_label, read_number
from cohorts.errors import CohortError

DAYS = st.dates(date(1930, 1, 1), date(2170, 12, 31))
FORMS = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%B %d, %Y", "%d-%b-%Y", "%Y-%m-%dT%H:%M:%S"]


@given(st.lists(DAYS, min_size=1, max_size=5), st.sampled_from(FORMS))
def test_a_date_is_read_in_every_form_that_is_clear(days, form):
    words = [day.strftime(form) for day in days]
    found = read_dates(words, "", "Datum")
    assert [found[word] for word in words] == days


@given(st.lists(DAYS, min_size=1, max_size=5), st.sampled_from("/-"), st.booleans())
def test_the_order_of_day_and_month_is_that_of_the_column_or_asked_for(days, separator, day_first):
    form = separator.join(["%d", "%m", "%Y"] if day_first else ["%m", "%d", "%Y"])
    words = [day.strftime(form) for day in days]
    if all(day.day <= 12 and day.day != day.month for day in days):
        with pytest.raises(CohortError, match=r"'Datum' can be read .*say `date_format"):
            read_dates(words, "", "Datum")
    elif any(day.day > 12 for day in days):
        found = read_dates(words, "", "Datum")
        assert [found[word] for word in words] == days
    named = read_dates(words, form, "Datum")
    assert [named[word] for word in words] == days


def test_both_orders_in_one_column_are_refused():
    with pytest.raises(CohortError, match="date_format"):
        read_dates(["31/12/2020", "12/31/2020"], "", "Datum")


def test_days_of_a_spreadsheet_are_dates_and_what_is_none_is_none():
    words = ["43832", "43832,25", "31.02.2020", "03.04.20", "99999999", "1234", "gestern", "0001-01-01", "20201301"]
    assert list(read_dates(words, "", "Datum").values()) == [date(2020, 1, 2), date(2020, 1, 2), *[None] * 7]


@pytest.mark.parametrize(
    ("word", "years"),
    [
        ("58", 58),
        ("58,5", 58.5),
        ("58.5", 58.5),
        ("058Y", 58),
        ("18M", 1.5),
        ("026W", 26 / 52.18),
        ("0", 0),
        ("120", 120),
    ],
)
def test_ages(word, years):
    assert read_age(word) == pytest.approx(years)


@pytest.mark.parametrize("word", ["121", "-1", "58 Jahre", "1e3", "x", "5Y5"])
def test_what_is_no_age(word):
    assert math.isnan(read_age(word))


@given(st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: f"{value:.3f}"))
def test_a_decimal_comma_is_a_point(word):
    assert read_number(word) == read_number(word.replace(".", ",")) == float(word)


def test_labels_are_three_numbers():
    assert [read_label(word) for word in ("1", "0", "-1", "1,0", "0.0", "-1,0")] == [1, 0, -1, 1, 0, -1]
    assert all(math.isnan(read_label(word)) for word in ("2", "ja", "1;0", "", "nan", "inf", "=1"))
