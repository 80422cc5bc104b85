"""Only allowed attributes are kept, and only keywords are told of those that were dropped."""

from __future__ import annotations

import numpy as np
import pydicom
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from benchmarks.images import write_dicom
from imaging.decode import SquareOptions, read_square
from imaging.dicom.attributes import KEPT, PRIVATE, UNKNOWN, attributes

PIXELS = np.arange(48, dtype=np.uint16).reshape(8, 6)


def header_of(tmp_path, **more):
    return read_square(write_dicom(tmp_path / "image", PIXELS, **more), SquareOptions(8)).header


def test_names_dates_and_identifiers_are_dropped(tmp_path):
    header = header_of(tmp_path, InstitutionName="Secret Hospital", PatientAge="041Y", PixelSpacing=["0.1", "0.2"])
    assert header.kept["Rows"] == 8
    assert header.kept["Modality"] == "CR"
    assert header.kept["ViewPosition"] == "PA"
    assert header.kept["PixelSpacing"] == [0.1, 0.2]
    assert {"PatientName", "PatientID", "StudyDate", "InstitutionName", "PatientAge"} <= header.dropped
    assert not set(header.kept) - set(KEPT)
    for secret in ("Identifying", "Secret", "041Y", "20200101"):
        assert secret not in repr(header)


def test_text_in_a_coded_attribute_is_dropped(tmp_path):
    header = header_of(tmp_path, BodyPartExamined="Mr Smith's chest", ViewPosition="see note 7 of Dr. Who")
    assert "BodyPartExamined" not in header.kept
    assert "ViewPosition" not in header.kept


def test_burned_in_annotation(tmp_path):
    said = {value: header_of(tmp_path, BurnedInAnnotation=value).burned_in for value in ("YES", "NO", "PERHAPS")}
    assert said == {"YES": True, "NO": False, "PERHAPS": None}
    assert header_of(tmp_path).burned_in is None


def test_nested_private_and_unknown_attributes(tmp_path):
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3"
    deeper = Dataset()
    deeper.ReferringPhysicianName = "Identifying^Doctor"
    item.RequestAttributesSequence = [deeper]
    dataset = Dataset()
    dataset.RequestAttributesSequence = [item]
    dataset.private_block(0x0009, "MAKER", create=True).add_new(1, "LO", "Identifying")
    dataset.add_new(0x00091001, "LO", "Identifying")
    dataset.add_new(0x00086666, "LO", "Identifying")
    dataset.OtherPatientIDs = ""
    header = attributes(dataset)
    assert header.dropped == {"ReferencedSOPInstanceUID", "ReferringPhysicianName", PRIVATE, UNKNOWN}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0x00080000, 0x00502000), st.sampled_from(["SQ", "DS", "IS", "CS", "UN"]), st.binary())
    )
)
def test_damaged_attributes_never_raise(elements):
    dataset = Dataset()
    for number, representation, value in elements:
        tag = BaseTag(number)
        dataset._dict[tag] = RawDataElement(tag, representation, len(value), value, 0, False, True)
    header = attributes(dataset)
    assert set(header.kept) <= set(KEPT)


def test_real_header():
    dataset = pydicom.dcmread(get_testdata_file("693_J2KI.dcm", download=False))
    header = attributes(dataset)
    assert {"PatientName", "PatientID", "StudyInstanceUID", PRIVATE} <= header.dropped | {PRIVATE}
    assert header.kept["Modality"] == "CT"
