from __future__ import annotations

from dataclasses import fields

import dagster as dg
import pytest

from assets.workspace import WorkspaceResource, one_sentence
from cohorts.errors import CohortError
from cohorts.registry import cohort_names
from ingestion.stages.images import ImagesSettings
from ingestion.workspace import Workspace


def test_the_resource_has_the_fields_of_the_workspace():
    values = {"home": "/h", "cohort": "open_i", "archive_root": "/a", "show_text": True}
    assert WorkspaceResource(**values).plain() == Workspace(**values)
    of_a_run = {"version"}  # a run finds it out by itself
    assert set(WorkspaceResource.model_fields) == {item.name for item in fields(Workspace)} - of_a_run
    assert WorkspaceResource().plain() == Workspace()


def test_the_launchpad_names_every_cohort():
    description = WorkspaceResource.model_fields["cohort"].description
    assert all(name in description for name in cohort_names())


def test_what_a_user_can_mend_ends_a_step_with_its_sentence():
    with pytest.raises(dg.Failure) as caught, one_sentence():
        raise CohortError("There is no archive.")
    assert (caught.value.description, caught.value.allow_retries) == ("There is no archive.", False)
    with pytest.raises(dg.Failure, match=r"must lie in 32\.\.1024"), one_sentence():
        ImagesSettings(size=7)


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ValueError, match="invalid literal"), one_sentence():
        int("seven")
