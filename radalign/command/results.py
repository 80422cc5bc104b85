"""All numbers of a home, by the cohort that networks were pretrained on: for the terminal, or as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from radalign.errors import RadalignError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from evaluation.results.trainings import Pretraining
    from ingestion.workspace import Workspace

    Found = Sequence[tuple[Pretraining, pa.Table]]


def find_results(workspace: Workspace, cohort: str = "") -> Found:
    """The latest results by pretraining cohort, the newest first; with `cohort` those of this one only.

    Raises:
        RadalignError: no network was pretrained on it, or on any.
    """
    from evaluation.results.latest import latest_by_pretraining
    from ingestion.pooling.names import check_name, members_of, pool_name

    if cohort:
        check_name(cohort)
        cohort = pool_name(members_of(cohort))
    found = latest_by_pretraining(workspace)
    chosen = [(one, rows) for one, rows in found if cohort in ("", one.cohort)]
    if not chosen:
        others = f" Networks were pretrained on {', '.join(one.cohort for one, _ in found)}." if found else ""
        raise RadalignError(
            f"No network was pretrained{f' on {cohort}' if cohort else ''} in {workspace.home_path()}: run `radalign "
            f"pretrain medklip` first, or name another home with --home.{others}"
        )
    return chosen


def describe_results(found: Found) -> Iterator[str]:
    """A headline for each cohort, then for each its trainings, methods side by side, and all tables."""
    from evaluation.results.headlines import list_trainings, make_headline
    from evaluation.results.side_by_side import compare_methods
    from evaluation.results.text_tables import WIDTH, as_text
    from evaluation.results.trainings import find_archive

    for pretraining, results in found:
        yield from make_headline(pretraining, pretraining.trainings[0], results.to_pylist()).lines()
    for pretraining, results in found:
        rows, about = results.to_pylist(), f"pretrained on {pretraining.cohort}"
        yield ""
        yield f"== Pretrained on {pretraining.title} ".ljust(WIDTH, "=")
        yield f"Archive: {find_archive(pretraining.workspace) or 'not known'}"
        if len(pretraining.trainings) > 1:
            yield f"\n{list_trainings(pretraining, rows)}"
            yield f"\n{compare_methods(rows, about)}" if rows else ""
        yield f"\n{as_text(results, about=about)}"


def as_frame(found: Found) -> pd.DataFrame:
    """All rows, with the cohort of the pretraining in the first column."""
    from evaluation.results.latest import join_pretrainings

    frame: pd.DataFrame = join_pretrainings(found).to_pandas()
    return frame
