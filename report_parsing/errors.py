"""Errors of reports: a stable code, and one sentence that never quotes the report."""

from __future__ import annotations

from store.errors import UserError


class ReportError(UserError):
    """A report that cannot be used. `reason` is a code for the rejects table, `detail` a sentence for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
