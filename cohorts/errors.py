"""Errors of archives."""

from __future__ import annotations

from cohorts.archive.names import on_one_line
from store.errors import UserError


class CohortError(UserError):
    """An archive cannot be read. The message is one sentence: what is missing, where, and how to get it."""

    def __init__(self, message: str) -> None:
        super().__init__(on_one_line(message))  # it names files, whose names may hold line ends and bytes of any kind
