"""What goes wrong in an evaluation, said in one sentence."""

from __future__ import annotations

from store.errors import UserError


class EvaluationError(UserError):
    """A model, a table or a picture cannot be evaluated; the message is one sentence."""


class NotAvailableError(EvaluationError):
    """The method does not do what a task asks for, such as reading text."""
