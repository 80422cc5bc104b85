"""What can be chosen of the reports, and that a wrong choice is a sentence before anything is computed."""

from __future__ import annotations

import pytest

from ingestion.stages.images import ImagesSettings
from ingestion.stages.reports import ReportsSettings
from report_parsing.reports import ReportOptions
from store.settings import described_settings


def test_the_defaults_are_the_parsers():
    assert ReportsSettings().options() == ReportOptions()


def test_every_option_of_the_parser_can_be_chosen():
    assert {name for name, *_ in described_settings(ReportsSettings)} == set(ReportOptions.__dataclass_fields__)


def test_lists_of_a_launchpad_are_taken():
    assert ReportsSettings(sections=["impression"], required=[]).options() == ReportOptions(("impression",), ())


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"sections": ["impresion"]}, "sections has no choice 'impresion'; use examination"),
        ({"sectioning": "official"}, "sectioning has no choice 'official'; use mended, reference"),
        ({"minimum_tokens": 0}, "`minimum_tokens` must be at least 1"),
    ],
)
def test_wrong_choices(chosen, message):
    with pytest.raises(ValueError, match=message):
        ReportsSettings(**chosen)


@pytest.mark.parametrize("size", [31, 1025])
def test_sizes_have_bounds(size):
    with pytest.raises(ValueError, match=r"must lie in 32\.\.1024"):
        ImagesSettings(size=size)
