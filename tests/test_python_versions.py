"""One lock for every Python that the project names, and the places that name them."""

import re
import tomllib

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from radalign.command.doctor import PYTHON
from store.code import ROOT

PYTHONS = [f"{PYTHON[0][0]}.{minor}" for minor in range(PYTHON[0][1], PYTHON[1][1])]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
LOCK = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines() if re.match(r"\w", line)]
LINUX = {**default_environment(), "sys_platform": "linux", "platform_machine": "x86_64", "extra": ""}


def applies(requirement, python):
    environment = {**LINUX, "python_version": python, "python_full_version": f"{python}.9"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


def locked(python):
    """Version by package under one Python."""
    there = [requirement for requirement in LOCK if applies(requirement, python)]
    versions = {canonicalize_name(item.name): next(iter(item.specifier)).version for item in there}
    assert len(versions) == len(there), "a package is locked twice"
    return versions


def test_the_same_pythons_are_named_everywhere():
    accepted = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}.5" in accepted] == PYTHONS
    first, last = PYTHON
    assert f"({first[0]}, {first[1]}) <= sys.version_info < ({last[0]}, {last[1]})" in (ROOT / "Makefile").read_text()
    assert f"Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_all_that_is_needed(python):
    versions = locked(python)
    extras = PROJECT["optional-dependencies"]
    groups = [PROJECT["dependencies"], extras["dev"], extras["docs"], *SETTINGS["dependency-groups"].values()]
    for needed in (Requirement(text) for group in groups for text in group):
        if applies(needed, python):
            assert versions[canonicalize_name(needed.name)] in needed.specifier, needed


@pytest.mark.parametrize("name", ["numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "torch", "spacy"])
def test_all_pythons_compute_with_the_same(name):
    assert len({locked(python)[name] for python in PYTHONS}) == 1


@pytest.mark.parametrize("python", PYTHONS)
def test_scispacy_is_there_where_it_can_be(python):
    assert ("scispacy" in locked(python)) == (python in ("3.11", "3.12"))
