"""Steps of ingestion in a run on a pool: each is done for every member, and Dagster sees one result of all."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any

import dagster as dg

from assets.workspace import WorkspaceResource, identify
from ingestion.workspace import Workspace
from store.digests import fingerprint

Metadata = Mapping[str, Any]
Result = dg.MaterializeResult[Any] | dg.AssetCheckResult
ADDED = ("dagster/row_count", "computed", "reused", "rejects", "source_rows", "studies", "subjects")  # over members


def for_every_member(make: Callable[..., Any]) -> Callable[..., Any]:
    """Makes the function of an asset or of checks that work on one dataset one that works on pools too."""

    def run(args: Sequence[Any], workspace: WorkspaceResource, others: Mapping[str, Any]) -> list[Result]:
        place = workspace.plain()
        if not place.is_pool:
            return _listed(make(*args, workspace=workspace, **others))
        results = [_listed(make(*args, workspace=workspace.on(name), **others)) for name in _names(place)]
        return [_join(place, same) for same in zip(*results, strict=True)]

    @wraps(make)
    def made(*args: Any, workspace: WorkspaceResource, **others: Any) -> Any:
        (result,) = run(args, workspace, others)
        return result

    @wraps(make)
    def made_several(*args: Any, workspace: WorkspaceResource, **others: Any) -> Iterator[Result]:
        yield from run(args, workspace, others)

    return made_several if isgeneratorfunction(make) else made  # Dagster looks at which of the two it is


def join_metadata(place: Workspace, of_members: Mapping[str, Metadata]) -> dict[str, Any]:
    """The metadata of one dataset; of a pool the counts of all members added, and then those of each by its name."""
    if not place.is_pool:
        return dict(next(iter(of_members.values())))
    found = list(of_members.values())
    added = {
        name: sum(one[name] for one in found) for name in ADDED if all(type(one.get(name)) is int for one in found)
    }
    whose = identify(place)
    parts = {
        f"{cohort}: {name.removeprefix('dagster/')}": value
        for cohort, metadata in of_members.items()
        for name, value in metadata.items()
        if name not in whose
    }
    return {**added, **parts, **whose}


def join_versions(versions: Sequence[str]) -> str:
    """One version of those of all members."""
    return versions[0] if len(versions) == 1 else fingerprint(list(versions))


def _names(place: Workspace) -> list[str]:
    return [member.cohort_name() for member in place.members()]


def _listed(made: Result | Iterable[Result]) -> list[Result]:
    return [made] if isinstance(made, dg.MaterializeResult | dg.AssetCheckResult) else list(made)


def _join(place: Workspace, results: Sequence[Any]) -> Result:
    """The results that the members have of one asset or check."""
    first = results[0]
    metadata = join_metadata(
        place, {name: one.metadata or {} for name, one in zip(_names(place), results, strict=True)}
    )
    if isinstance(first, dg.AssetCheckResult):
        failed = [(name, one) for name, one in zip(_names(place), results, strict=True) if not one.passed]
        return first._replace(
            passed=not failed,
            description=" ".join(f"{name}: {one.description or 'not passed.'}" for name, one in failed) or None,
            metadata=metadata,
        )
    checks = zip(*(one.check_results or () for one in results), strict=True)
    return first._replace(
        metadata=metadata,
        data_version=dg.DataVersion(join_versions([one.data_version.value for one in results])),
        check_results=[_join(place, same) for same in checks],
    )
