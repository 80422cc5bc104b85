"""Group `evaluation`: whether a network is calibrated, whom it fails, and what it looks at; with its model card."""

from typing import Any

import dagster as dg

from assets import previews
from assets.evaluated import GROUP, origin_of
from assets.settings.evaluation import EvaluationSettings, chosen_evaluation
from assets.settings.launchpad import launchpad_config, settings_of
from assets.workspace import WorkspaceResource, identify, one_sentence
from evaluation.audit.settings import AuditSettings
from ingestion.pipeline import choose_datasets
from store.digests import fingerprint
from tracking.runs import networks_of, runs_to_evaluate

AuditConfig = launchpad_config(AuditSettings)


def audited_asset(method: str) -> dg.AssetsDefinition:
    """The asset `audited/<method>`; `imported` stands for all networks that cannot be trained."""
    key = dg.AssetKey(["audited", method])

    @dg.asset(
        key=key,
        deps=[origin_of(method), "shards", "studies", "results"],
        group_name=GROUP,
        kinds={"pytorch", "html"},
        description=f"The audit of {method}: calibration, operating points, gaps between groups, shortcuts, shift "
        "between datasets, and a model card.",
    )
    def audited(
        context: dg.AssetExecutionContext,
        config: AuditConfig,  # type: ignore[valid-type]
        workspace: WorkspaceResource,
        evaluation: EvaluationSettings,  # type: ignore[valid-type]
    ) -> dg.MaterializeResult[Any]:
        from evaluation.audit.datasets import find_datasets
        from evaluation.audit.run import audit_run

        place, written = workspace.plain(), []
        with one_sentence():
            amount = chosen_evaluation(evaluation, place.preset_name(), context.run.tags).amount
            settings = settings_of(config, AuditSettings)
            names = choose_datasets(place, amount.cohorts, amount.splits)
            for network in networks_of(method, place, context.run.tags):
                for run in runs_to_evaluate(place, network, amount.every_run):
                    found = find_datasets(place, run, names, settings.view, context.run.run_id, context.log.info)
                    written.append(audit_run(place, run, *found, settings, context.log.info, amount.compute))
        audits = [one.audit for one in written]
        headlines = [f"{one.name}: {sentence}" for one in audits for sentence in one.headlines()]
        return dg.MaterializeResult(
            metadata={
                "found": len(headlines),
                "headlines": previews.markdown_list(headlines),
                "tested": sum(one.tested for one in audits),
                "datasets": ", ".join(dict.fromkeys(each.dataset for one in audits for each in one.datasets)),
                "computed": sum(one.computed for one in written),
                "found in results": sum(one.reused for one in written),
                "page": dg.MetadataValue.path(str(written[0].page)),
                "model card": dg.MetadataValue.path(str(written[0].card)),
                **identify(place),
            },
            data_version=dg.DataVersion(fingerprint([each.as_dict() for one in audits for each in one.datasets])),
        )

    return audited
