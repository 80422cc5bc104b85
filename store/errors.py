"""Errors that a user can mend. The error classes of all rooms derive from `UserError`."""

from __future__ import annotations


class UserError(Exception):
    """Something that a user can mend. The message is one sentence: what is wrong, where, and what to do."""


class DamageError(UserError):
    """A file of the home is not what was written. It was set aside, and the message says how it is made again."""
