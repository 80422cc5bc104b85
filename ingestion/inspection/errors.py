"""Errors of inspections."""

from __future__ import annotations

from cohorts.archive.names import on_one_line
from store.errors import UserError


class InspectionError(UserError):
    """There is nothing that could be read. The message is one sentence: what is there instead, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(on_one_line(message))
