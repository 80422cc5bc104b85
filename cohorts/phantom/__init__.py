"""The embedded default: simulated chest radiographs with findings at known places, and reports about them.

A simulation shows that a method learns what it is designed to learn; it says nothing about patients.
"""

from cohorts.phantom.archive import simulate
from cohorts.phantom.config import FINDINGS, PhantomConfig

__all__ = ["FINDINGS", "PhantomConfig", "simulate"]
