"""What a user of the library or of the command can mend, said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from store.errors import UserError, sentence_of


class RadalignError(UserError):
    """Something that the caller can mend; the message is one sentence."""


class UnknownFindingWarning(UserWarning):
    """Words are scored that name no finding, or deny one; the message is one sentence."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Raise the errors of all rooms that a user can mend as RadalignError, with the same sentence."""
    try:
        yield
    except RadalignError:
        raise
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        raise RadalignError(sentence) from error
