"""What a user of the library or of the command can mend, said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RadalignError(Exception):
    """Something that the caller can mend; the message is one sentence."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Raise the errors of all rooms that a user can mend as RadalignError, with the same sentence."""
    from cohorts.errors import CohortError
    from evaluation.errors import EvaluationError
    from imaging.errors import ImageError
    from shards.errors import ShardError
    from training.errors import TrainingError

    try:
        yield
    except (CohortError, EvaluationError, ImageError, ShardError, TrainingError, ValueError) as error:
        raise RadalignError(str(error)) from error
    except OSError as error:
        if error.filename is None:
            raise
        raise RadalignError(f"{error.filename} cannot be used: {error.strerror}.") from error
