"""What can be chosen of the reports, and that a wrong choice is a sentence before anything is computed."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from assets.reports import SECTION_CODE, ReportsConfig, report_options
from assets.workspace import CHECKOUT
from report_parsing.reports import ReportOptions


def test_the_defaults_are_the_parsers():
    assert report_options(ReportsConfig().model_dump()) == ReportOptions()


def test_every_option_of_the_parser_can_be_chosen():
    assert set(ReportsConfig.model_fields) == set(ReportOptions.__dataclass_fields__)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"sections": ["impresion"]}, "sections has no choice 'impresion'; use examination"),
        ({"sectioning": "official"}, "sectioning has no choice 'official'; use mended, reference"),
        ({"minimum_tokens": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_choices(chosen, message):
    with pytest.raises(ValidationError, match=message):
        ReportsConfig(**chosen)


def test_every_module_that_decides_is_named_as_code():
    script = "import sys, report_parsing.reports; print(*(m for m in sys.modules if m.startswith('report_parsing.')))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    files = {f"{module.replace('.', '/')}.py" for module in loaded.stdout.split()}
    assert files - set(SECTION_CODE) == {
        "report_parsing/errors.py",
        "report_parsing/resources.py",
    }  # they decide nothing
    assert all((CHECKOUT / path).is_file() for path in SECTION_CODE)
