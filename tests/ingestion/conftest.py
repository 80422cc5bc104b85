"""The archive of MIMIC-CXR that the tests of the cohorts write."""

from tests.cohorts.conftest import mimic

__all__ = ["mimic"]
