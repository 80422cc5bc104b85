"""Errors of archives."""

from __future__ import annotations


class CohortError(Exception):
    """An archive cannot be read. The message is one sentence: what is missing, where, and how to get it."""
