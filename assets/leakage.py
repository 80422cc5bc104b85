"""Group `downstream`: whether what a network is tested on was seen before, and what chose its settings."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np

from assets import previews
from assets.datasets import GROUP
from assets.workspace import WorkspaceResource
from evaluation.dataset import EvaluationDataset
from ingestion.pipeline import READY, dataset_state, downstream_names
from ingestion.workspace import Workspace
from store.atomic import write_json
from store.digests import fingerprint

LEAKAGE = "leakage"
UNSEEN = "tests_are_unseen"
SPLITS = ("train", "validate", "test")
SEEN = ("train", "validate")  # by pretraining
FILE = "leakage.json"  # with the results
COHORTS = tuple(downstream_names())


@dg.asset(
    name=LEAKAGE,
    group_name=GROUP,
    kinds={"python"},
    deps=["shards", *(dg.AssetKey(["dataset", cohort]) for cohort in COHORTS)],
    check_specs=[
        dg.AssetCheckSpec(
            UNSEEN,
            asset=LEAKAGE,
            description="No patient and no film of a test split is in what a network or a classifier has seen.",
        )
    ],
)
def leakage(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> Iterator[dg.MaterializeResult[Any]]:
    """Patients that pretraining and a test split share, and films that look the same, also between splits.

    Films are compared by a perceptual hash, which finds copies that were resized, compressed again or mirrored. What is
    found stops nothing: it is told here, by a check, and on the page of tables.
    """
    from evaluation.leakage.checks import between_splits, describe, shared_films, shared_patients
    from evaluation.results.store import FOLDER
    from evaluation.tables.selection import selection
    from evaluation.tasks.registry import task_names

    place = workspace.plain()
    own = place.cohort_name()
    seen = _sample(place, SEEN)
    leaks = between_splits([_sample(place, (split,)) for split in SPLITS])
    for cohort in COHORTS:
        there = place.downstream(cohort)
        if cohort == own or there is None or dataset_state(place, cohort)["status"] != READY:
            continue
        context.log.info(f"Comparing the films of {cohort} with those of {own}.")
        tested = _sample(there, ("test",))
        leaks += [shared_patients(seen, tested), shared_films(seen, tested)]
        leaks += between_splits([_sample(there, (split,)) for split in SPLITS])
    told, found = describe(leaks), [leak for leak in leaks if leak.count]
    write_json(place.home_path() / FOLDER / FILE, {"pretraining": own, "found": describe(found)})
    rows = [(leak.kind, leak.seen, leak.tested, "?" if leak.count is None else leak.count, leak.of) for leak in leaks]
    yield dg.MaterializeResult(
        metadata={
            "comparisons": len(leaks),
            "leaks": len(found),
            "counts": previews.markdown_table(("what", "seen", "tested", "seen too", "of"), rows),
            "sentences": dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in told)),
            "selection": dg.MetadataValue.md(
                "\n".join(f"- {sentence}" for sentence in selection(sorted(task_names())))
            ),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=not found,
                check_name=UNSEEN,
                severity=dg.AssetCheckSeverity.WARN,
                description=" ".join(describe(found)) or None,
            )
        ],
    )


def _sample(workspace: Workspace, splits: tuple[str, ...]) -> Any:
    """Films of some splits of a cohort, hashed once for each version of its shards."""
    from evaluation.leakage.checks import Sample

    dataset = EvaluationDataset(workspace)
    parts = [(dataset.images(split).subjects, _hashes(dataset, split)) for split in splits]
    subjects, hashed = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Sample(workspace.cohort_name(), splits, subjects, hashed)


def _hashes(dataset: EvaluationDataset, split: str) -> np.ndarray:
    from evaluation.leakage.duplicates import hashes
    from store.atomic import replacing
    from store.code import code_version

    digest = fingerprint(dataset.reader.manifest.digest, split, code_version("evaluation.leakage.duplicates"))
    path = dataset.workspace.folder("hashes") / f"{digest}.npy"
    if not path.exists():
        found = hashes(dataset.images(split).pixels)
        with replacing(path) as partial, partial.open("wb") as file:
            np.save(file, found)
    kept: np.ndarray = np.load(path)
    return kept
