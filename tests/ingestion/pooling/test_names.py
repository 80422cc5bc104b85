"""Names of pools: the same for the same members, and mistakes in one sentence."""

from itertools import permutations

import pytest

from cohorts.errors import CohortError
from ingestion.pooling.names import check_name, is_pool, pools_in
from ingestion.workspace import Workspace

ROOT = "RADALIGN_COHORT"


@pytest.mark.parametrize("order", permutations(("mimic_cxr", "open_i", "covid_chestxray")))
def test_a_pool_has_one_name(order, monkeypatch):
    name = "covid_chestxray+mimic_cxr+open_i"
    assert Workspace(cohort="+".join(order)).cohort_name() == name
    monkeypatch.setenv(ROOT, " + ".join(order))
    assert Workspace().cohort_name() == name
    assert [member.cohort_name() for member in Workspace().members()] == sorted(order)


def test_a_dataset_is_no_pool():
    there = Workspace(cohort="open_i")
    assert there.members() == [there]
    assert not there.is_pool
    assert not is_pool("open_i")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mimic_cxr+open_ii", r"no dataset 'open_ii' \(did you mean `open_i`\?\)"),
        ("open_i+open_i", "names open_i twice; name each dataset once"),
        ("open_i+", "has an empty name; join the names of datasets by"),
        ("mura+open_i", "mura has images without reports, .* leave it out of the pool"),
    ],
)
def test_mistakes_are_one_sentence(name, said):
    with pytest.raises(CohortError, match=said):
        check_name(name)
    with pytest.raises(CohortError, match=said):
        Workspace(cohort=name).members()
    assert not is_pool(name)


def test_a_pool_has_several_archives():
    with pytest.raises(CohortError, match="set RADALIGN_MIMIC_CXR_ROOT and RADALIGN_OPEN_I_ROOT instead"):
        Workspace(cohort="open_i+mimic_cxr", archive_root="/data").members()


def test_pools_of_a_home_are_found(tmp_path):
    for name in ("mimic_cxr+open_i", "open_i", "open_i+mimic_cxr", "a+b", "mimic_cxr+mura"):
        (tmp_path / name).mkdir()
    assert pools_in(tmp_path) == ["mimic_cxr+open_i"]
