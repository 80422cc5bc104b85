"""Group `evaluation`: what the latest network of a method makes of the studies that came after its training."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from assets import previews
from assets.evaluated import GROUP, origin_of
from assets.settings.evaluation import EvaluationSettings, chosen_evaluation
from assets.settings.launchpad import launchpad_config, settings_of
from assets.workspace import WorkspaceResource, identify, one_sentence
from evaluation.monitoring.settings import MonitoringSettings
from ingestion.versions import pinned
from store.digests import fingerprint
from tracking.runs import networks_of, trained_run

NO_DRIFT = "no_drift"
MonitoringConfig = launchpad_config(MonitoringSettings)


def monitored_asset(method: str) -> dg.AssetsDefinition:
    """The asset `monitored/<method>`; `imported` stands for all networks that cannot be trained."""
    key = dg.AssetKey(["monitored", method])

    @dg.asset(
        key=key,
        deps=[origin_of(method), "shards", "studies", "report_labels"],
        group_name=GROUP,
        kinds={"pytorch", "parquet", "html"},
        check_specs=[
            dg.AssetCheckSpec(
                NO_DRIFT,
                asset=key,
                description="The studies of the last night look, and are scored, like those of the training.",
            )
        ],
        description=f"The studies that came after the training of {method}, scored night by night by its latest run, "
        "which is not trained again, and how far each night is from the training data.",
    )
    def monitored(
        context: dg.AssetExecutionContext,
        config: MonitoringConfig,  # type: ignore[valid-type]
        workspace: WorkspaceResource,
        evaluation: EvaluationSettings,  # type: ignore[valid-type]
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from evaluation.monitoring.watch import watch

        place = workspace.plain()
        with one_sentence():
            compute = chosen_evaluation(evaluation, place.preset_name(), context.run.tags).amount.compute
            runs = [trained_run(place, name) for name in networks_of(method, place, context.run.tags)]
            kept = pinned(place, context.run.run_id, context.log.info)
            settings = settings_of(config, MonitoringSettings)
            found = {run.name: watch(kept, run, settings, context.log.info, compute) for run in runs}
        warned = [quantity for one in found.values() for quantity in one.warned()]
        first = next(iter(found.values()))
        yield dg.MaterializeResult(
            metadata={
                **{name: value for each in found.values() for name, value in _numbers(each).items()},
                "dagster/row_count": sum(len(night.images) for night in first.nights),
                "version": kept.version,
                **identify(place),
            },
            data_version=dg.DataVersion(fingerprint([one.digest() for one in found.values()])),
            check_results=[_no_drift(key, warned, identify(place))],
        )

    return monitored


def _numbers(found: Any) -> dict[str, Any]:
    """The numbers that Dagster plots over materializations, the picture, and the page."""
    from evaluation.monitoring.accuracy import MEAN
    from evaluation.monitoring.quantities import INPUTS, SCORES

    night = found.nights[-1] if found.nights else None
    own = [row for row in found.last() if row["nights"] == 1 or row["quantity"] == MEAN]
    rows = [row for row in own if row["value"] is not None]
    return {
        "nights": len(found.nights),
        "night": night.date if night else "",
        "images of the night": len(night.images) if night else 0,
        "tables computed": found.series.computed,
        "farthest input / limit": found.farthest(INPUTS),
        "farthest score / limit": found.farthest(SCORES),
        "page": dg.MetadataValue.path(str(found.page)),
        **({"drift": previews.picture(found.overview, "drift")} if found.overview else {}),
        **{row["quantity"]: row["value"] for row in rows},
    }


def _no_drift(key: dg.AssetKey, warned: Sequence[str], whose: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not warned,
        check_name=NO_DRIFT,
        asset_key=key,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"The last night differs from the training data in {', '.join(warned)}." if warned else None,
        metadata={"quantities": len(warned), "differs in": previews.markdown_list(warned), **whose},
    )
