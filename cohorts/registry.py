"""Datasets by name. A file in `cohorts/readers` is a dataset: it declares its facts, `DATASET`, and its reader."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from cohorts import readers
from cohorts.dataset import Dataset
from cohorts.errors import CohortError
from cohorts.views import USUAL
from store.errors import did_you_mean

if TYPE_CHECKING:
    from cohorts.archive.marks import Signature
    from cohorts.base import Cohort


def cohort_names() -> list[str]:
    """The names of all datasets that have a reader, sorted. No reader is imported."""
    return sorted(module.name for module in iter_modules(readers.__path__))


def open_cohort(
    name: str, root: Path, split: str | None = None, views: Sequence[str] = USUAL, home: Path | None = None
) -> Cohort:
    """Reader of the archive `name` in `root`, with the family `split` of its `splits` (None: its default).

    Images of the `views` become studies, `cohorts.views.KINDS`. `home` holds the key of hashed identifiers (None: that
    of the environment).

    Raises:
        CohortError: the name, the root, the split or a view is wrong; the message is one sentence.
    """
    return _reader(name)(root, split, views, home)  # type: ignore[no-any-return]


def files_root(name: str, root: Path) -> Path:
    """The folder of the files of an archive, for the root that somebody named: itself, or what its description says."""
    return _reader(name).files_root(root)  # type: ignore[no-any-return]


def keep_description(name: str, text: str, folder: Path) -> Path:
    """Keep a description of an archive that a run was given as a file, and return its path; CohortError says what is
    wrong with it, or that the dataset takes none."""
    return _reader(name).keep_description(text, folder)  # type: ignore[no-any-return]


def watched_files(name: str, root: Path) -> Sequence[Path]:
    """Files whose change is one of the archive, beside those in its upper folders: a description, and its tables."""
    return _reader(name).watched_files(root)  # type: ignore[no-any-return]


def has_reports(name: str) -> bool:
    """Whether the dataset has a report for each image, from which one can pretrain."""
    return bool(getattr(_reader(name), "has_reports", True))


def how_to_get(name: str) -> str:
    """What to set the root of the archive `name` to and where that comes from, a sentence without its beginning."""
    return str(_reader(name).how_to_get)


def signature(name: str) -> Signature:
    """The files that tell the archive `name` from others, in each of its editions."""
    return getattr(_reader(name), "signature", ())


def dataset(name: str) -> Dataset:
    """The labels of a dataset and what they can be used for; its archive is not opened."""
    facts = import_module(reader_module(name)).DATASET
    assert isinstance(facts, Dataset)
    return facts


def share_patients(one: str, other: str) -> bool:
    """Whether an equal `subject_id` means the same patient in both datasets."""
    return one == other or bool({*dataset(one).patient_sources} & {*dataset(other).patient_sources})


def reader_module(name: str) -> str:
    """Dotted name of the module that reads the dataset; CohortError for an unknown name."""
    if name not in cohort_names():
        raise CohortError(
            f"There is no dataset {name!r}{did_you_mean(name, cohort_names())}; choose one of "
            f"{', '.join(cohort_names())}."
        )
    return f"{readers.__name__}.{name}"


def _reader(name: str) -> Any:
    """The class with a method `scan` that the module of a dataset defines."""
    module = import_module(reader_module(name))
    (reader,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "scan")
    )
    return reader
