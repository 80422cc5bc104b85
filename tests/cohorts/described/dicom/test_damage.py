"""Damaged files of every kind end in a reject or a report error, and nothing else is raised."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohorts.described.dicom import index
from cohorts.described.dicom.files import Found
from cohorts.described.dicom.index import describe_file
from cohorts.described.dicom.rows import DETAILS
from cohorts.described.dicom.structured_reports import read_structured_report
from report_parsing.errors import ReportError
from tests.cohorts.described.dicom.export import item, write_directory, write_object, write_report

WRITERS = {
    "image": lambda path: write_object(path, 1, np.zeros((8, 8), int)),
    "image without a preamble": lambda path: write_object(path, 1, np.zeros((8, 8), int), preamble=False),
    "report": lambda path: write_report(path, 1, [item("TEXT", "121071", "Finding", TextValue="clear")]),
    "catalogue": lambda path: write_directory(path, [["A", "B"], "C"]),
}


@pytest.fixture(scope="module", params=WRITERS)
def whole(request, tmp_path_factory):
    return WRITERS[request.param](tmp_path_factory.mktemp("whole") / "a").read_bytes()


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_no_damage_ends_a_run(tmp_path_factory, whole, data):
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.getbasetemp()
    (folder / "a.dcm").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    found = describe_file(folder, Found("a.dcm", "1-1"))
    assert found["kind"] in (index.OBJECT, index.CATALOGUE)
    assert found["reason"] in ("", *DETAILS)
    assert index.pa.Table.from_pylist([found], index.HEADERS).num_rows == 1
    with suppress(ReportError):
        assert read_structured_report(folder, "a.dcm")
