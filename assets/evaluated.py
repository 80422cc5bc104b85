"""Group `evaluation`: every task on the cohort that a network was pretrained on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg

from assets import previews
from assets.settings.evaluation import Evaluation, EvaluationSettings, chosen_evaluation
from assets.workspace import WorkspaceResource, identify, one_sentence
from evaluation.dataset import EvaluationDataset
from evaluation.evaluator import Evaluator, Outcome, Tracker
from evaluation.results.outcomes import count_outcomes, digest_outcomes, means_to_plot, tabulate_outcomes
from evaluation.tasks.registry import own_tasks, task, task_names
from ingestion.pooling.build import members_at
from ingestion.versions import version_for
from ingestion.workspace import Workspace
from models.registry import method_names
from tracking.runs import IMPORTED, TrainedRun, known_runs, networks_of, runs_to_evaluate, trained_in

GROUP = "evaluation"
CHECK = "no_result_failed"
TASKS_TAG = "radalign/tasks"  # of a run: names of the tasks to evaluate, with commas between; without it all


def evaluated_asset(method: str) -> dg.AssetsDefinition:
    """The asset `evaluated/<method>`; `imported` stands for all networks that cannot be trained."""
    key = dg.AssetKey(["evaluated", method])

    @dg.asset(
        key=key,
        deps=[origin_of(method), "shards", "studies", "subsets"],
        group_name=GROUP,
        kinds={"pytorch", "parquet"},
        check_specs=[result_check(key)],
        description=f"All tasks on the cohort that {method} was pretrained on, trained and untrained, with 95 % "
        "intervals by patient.",
    )
    def evaluated(
        context: dg.AssetExecutionContext,
        workspace: WorkspaceResource,
        evaluation: EvaluationSettings,  # type: ignore[valid-type]
    ) -> Iterator[dg.MaterializeResult[Any]]:
        place, tasks = workspace.plain(), chosen_tasks(context, own_tasks())
        with one_sentence():
            chosen = chosen_evaluation(evaluation, place.preset_name(), context.run.tags)
            by_dataset = [
                make_evaluators(context, dataset, place, method, chosen, f"{name}/" if place.is_pool else "")
                for name, dataset in _own_datasets(context, place).items()
            ]
            evaluators = [one for of_dataset in by_dataset for one in of_dataset]
            amount = chosen.amount
            settings = amount.repeated_settings(tasks)
            outcomes = [outcome for one in evaluators for outcome in one.evaluate_settings(settings)]
        metadata = {  # the page shows it in this order
            **count_outcomes(outcomes),
            "computed on": evaluators[0].compute.description,
            "version": evaluators[0].dataset.workspace.version,
            "numbers": dg.MetadataValue.md(tabulate_outcomes(outcomes)),
        }
        for first, *_ in by_dataset:
            prefix = f"{first.name} " if place.is_pool else ""
            found = [one for one in outcomes if one.cohort == first.name]
            metadata |= figures(first, found, chosen.amount.embedded, prefix)
            metadata |= means_to_plot(found, leading_only=place.is_pool, prefix=prefix.strip())
        check, version = check_results(key, outcomes, identify(place)), dg.DataVersion(digest_outcomes(outcomes))
        yield dg.MaterializeResult(metadata=metadata | identify(place), data_version=version, check_results=[check])

    return evaluated


def origin_of(method: str) -> dg.AssetKey:
    """The asset that a network comes from."""
    return dg.AssetKey(["pretrained", method] if method in method_names() else [IMPORTED])


def chosen_tasks(context: dg.AssetExecutionContext, tasks: Sequence[str]) -> list[str]:
    """Those of `tasks` that the run's tag names; all of them without a tag."""
    tag = context.run.tags.get(TASKS_TAG, "")
    names = {name.strip() for name in tag.split(",") if name.strip()}
    if unknown := names - set(task_names()):
        raise dg.Failure(
            f"The tag {TASKS_TAG} names {min(unknown)}, which is not one of {', '.join(task_names())}.",
            allow_retries=False,
        )
    return [name for name in tasks if not names or name in names]


def make_evaluators(
    context: dg.AssetExecutionContext,
    dataset_for: Callable[[TrainedRun], EvaluationDataset],
    home: Workspace,
    method: str,
    evaluation: Evaluation,
    prefix: str = "",
) -> list[Evaluator]:
    """One for the latest run of a method, first, and with `every_run` those of its other variants and seeds.

    DamageError where weights are not those that their run recorded.
    """
    evaluators = [
        Evaluator(
            dataset_for(run),
            run,
            evaluation.options,
            context.log.info,
            _attach_tracker(context, home, run),
            prefix,
            context.log.warning,
            evaluation.amount.compute,
        )
        for name in networks_of(method, home, context.run.tags)
        for run in _runs(context, home, name, evaluation.amount.every_run)
    ]
    for one in evaluators:
        one.expect_weights()
    return evaluators


def _runs(context: dg.AssetExecutionContext, home: Workspace, method: str, every: bool) -> list[TrainedRun]:
    """The network that this Dagster run trained, or else the latest one, first; with `every` also the others."""
    own = trained_in(home, method, context.run.run_id)
    if own is None:
        return runs_to_evaluate(home, method, every)
    return [own, *(run for run in (known_runs(home, method) if every else ()) if run != own)]


def _own_datasets(
    context: dg.AssetExecutionContext, place: Workspace
) -> dict[str, Callable[[TrainedRun], EvaluationDataset]]:
    """The datasets that a network was pretrained on, by name, in the version that fits it; each is read once."""
    found: dict[tuple[str, str], EvaluationDataset] = {}

    def dataset_for(name: str, run: TrainedRun) -> EvaluationDataset:
        kept = version_for(place, run.data_version, context.run.run_id, run.version, context.log.warning)
        (own,) = (member for member in members_at(kept) if member.cohort_name() == name)
        return found.setdefault((name, own.version), EvaluationDataset(own))

    return {name: partial(dataset_for, name) for name in (member.cohort_name() for member in place.members())}


def _attach_tracker(context: dg.AssetExecutionContext, home: Workspace, run: TrainedRun) -> Tracker | None:
    """What keeps numbers with the run in MLflow; none where there is no such run, or MLflow cannot be reached."""
    from tracking import tracker

    if not run.mlflow_run:
        return None
    return tracker.attach(home.home_path(), run.mlflow_run, run.fingerprint, context.log.warning)


def result_check(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that `check_results` answers."""
    return dg.AssetCheckSpec(
        CHECK,
        asset=key,
        description="Every result was computed, or has a reason that lies in the method or the dataset.",
    )


def check_results(key: dg.AssetKey, outcomes: Sequence[Outcome], whose: Mapping[str, Any]) -> dg.AssetCheckResult:
    """Which results failed, and why; `whose` is further metadata.

    It stops nothing: a failed result is marked as failed in the tables.
    """
    failed = [outcome for outcome in outcomes if outcome.failed]
    rows = [(one.run_name, one.cohort, one.task, one.setting.name, one.weights, one.note) for one in failed]
    return dg.AssetCheckResult(
        passed=not failed,
        check_name=CHECK,
        asset_key=key,
        metadata={
            "failed": len(failed),
            "results": len(outcomes),
            "reasons": previews.markdown_table(("run", "cohort", "task", "setting", "weights", "why"), rows),
            **whose,
        },
    )


def figures(evaluator: Evaluator, outcomes: Sequence[Outcome], embedded: int, prefix: str = "") -> dict[str, Any]:
    """The figures of the tasks that have numbers; drawn again where a number is new."""
    from evaluation.figures.catalogue import draw_figures

    own = [one for one in outcomes if one.run == evaluator.run and one.weights == "trained"]
    scored = [one for one in own if one.values and not one.failed]
    names = [name for one in dict.fromkeys(outcome.task for outcome in scored) for name in task(one).figures]
    anew = any(not outcome.reused for outcome in scored)
    drawn = draw_figures(evaluator.predictions, names, evaluator.tracker, anew, embedded)
    return {
        f"{prefix}{name.replace('_', ' ')}": (
            previews.picture(figure, name) if isinstance(figure, bytes) else dg.MetadataValue.text(figure)
        )
        for name, figure in drawn.items()
    }
