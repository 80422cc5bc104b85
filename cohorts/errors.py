"""What goes wrong with an archive, said in one sentence."""

from __future__ import annotations


class CohortError(Exception):
    """An archive that cannot be read, in one sentence: what is missing, where, and how to get it."""
