"""Laterals become studies where they are asked for, with the labels and the report of their study."""

from __future__ import annotations

import pytest

from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.layouts.open_i import write as write_open_i
from cohorts.readers.mimic_cxr import MimicCxr
from cohorts.registry import open_cohort
from cohorts.views import FRONTAL, KINDS, LATERAL, UNKNOWN, kind_of_view
from tests.cohorts.scans import by_image, check, rejected

HAVE_LATERALS = {
    "chexpert": "chexpert",
    "covid_chestxray": "covid_chestxray",
    "edema_severity": "edema_severity",
    "mimic_cxr_jpg": "mimic_cxr",
    "open_i_kaggle": "open_i",
}


@pytest.mark.parametrize("layout", HAVE_LATERALS)
def test_laterals_are_studies_when_asked_for(simulated, tmp_path, layout):
    layout_writer(layout)(tmp_path, simulated[:40])
    usual, both, lateral = (
        check(open_cohort(HAVE_LATERALS[layout], tmp_path, views=views).scan())
        for views in ((FRONTAL,), (FRONTAL, LATERAL), (LATERAL,))
    )
    assert usual.source_rows == both.source_rows == lateral.source_rows
    assert "view_not_chosen" not in rejected(both).values()
    all_rows, frontal, aside = by_image(both), by_image(usual), by_image(lateral)
    assert frontal.keys() | aside.keys() == all_rows.keys()
    assert not frontal.keys() & aside.keys()
    assert {**frontal, **aside} == all_rows  # whatever is asked for, a row says the same
    assert {kind_of_view(row["view"]) for row in frontal.values()} == {FRONTAL}
    assert {kind_of_view(row["view"]) for row in aside.values()} == {LATERAL}
    own = {row["study_id"]: row for row in frontal.values()}
    if layout != "covid_chestxray":  # whose images are studies of their own
        for row in aside.values():
            for name in ("subject_id", "split", "report_path", "labels", "sex", "age", "date"):
                assert row[name] == own[row["study_id"]][name]


def test_views_that_are_unknown_are_studies_when_asked_for(mimic):
    views = {f"{place:08d}-0-0-0-0": view for place, view in enumerate(("PA", "LL", "", "LAO", "AP LLD"))}
    for image, view in views.items():
        mimic.add(image, view=view)
    mimic.close()
    for kinds in (KINDS, (UNKNOWN,), (LATERAL, UNKNOWN)):
        scan = check(MimicCxr(mimic.root, views=kinds).scan())
        chosen = {image for image, view in views.items() if kind_of_view(view) in kinds}
        assert set(by_image(scan)) == chosen
        assert set(rejected(scan)) == views.keys() - chosen


def test_images_of_open_i_without_a_table_of_projections_count_as_frontal(simulated, tmp_path):
    write_open_i(tmp_path, simulated[:10])
    usual = check(open_cohort("open_i", tmp_path).scan())
    assert len(usual.studies) > 0
    assert set(rejected(usual).values()) <= {"no_image"}
    lateral = check(open_cohort("open_i", tmp_path, views=(LATERAL,)).scan())
    assert (len(lateral.studies), "view_not_chosen" in rejected(lateral).values()) == (0, True)
