"""Group `downstream`: what a pretrained network is worth on all other datasets."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import dagster as dg

from assets.datasets import GROUP
from assets.evaluated import check_results, chosen_tasks, figures, make_evaluators, origin_of, result_check
from assets.settings.evaluation import EvaluationSettings, chosen_evaluation
from assets.workspace import WorkspaceResource, identify, one_sentence
from cohorts.registry import dataset
from evaluation.dataset import EvaluationDataset
from evaluation.evaluator import Evaluator, Outcome
from evaluation.predictions import WEIGHTS
from evaluation.results.outcomes import count_outcomes, digest_outcomes, means_to_plot, tabulate_outcomes
from evaluation.tasks.base import Setting
from evaluation.tasks.registry import tasks_on
from ingestion.pipeline import ABSENT, FAILED, choose_datasets, dataset_state
from ingestion.versions import at_version, pinned_state
from store.errors import sentence_of
from tracking.runs import TrainedRun


def downstream_asset(method: str, cohorts: Sequence[str]) -> dg.AssetsDefinition:
    """The asset `downstream/<method>`."""
    key = dg.AssetKey(["downstream", method])

    @dg.asset(
        key=key,
        deps=[origin_of(method), *(dg.AssetKey(["dataset", cohort]) for cohort in cohorts)],
        group_name=GROUP,
        kinds={"pytorch", "parquet"},
        check_specs=[result_check(key)],
        description=f"What {method}, trained and untrained, is worth on other datasets: every task of each.",
    )
    def downstream(
        context: dg.AssetExecutionContext,
        workspace: WorkspaceResource,
        evaluation: EvaluationSettings,  # type: ignore[valid-type]
    ) -> Iterator[dg.MaterializeResult[Any]]:
        place = workspace.plain()
        metadata: dict[str, Any] = {}
        outcomes: list[Outcome] = []
        with one_sentence():
            wanted = chosen_evaluation(evaluation, place.preset_name(), context.run.tags)
            chosen = choose_datasets(place, wanted.amount.cohorts, wanted.amount.splits)
        for cohort in cohorts:
            if cohort not in chosen:
                metadata[cohort] = "not among the datasets to evaluate on"
                continue
            there = place.downstream(cohort)
            with one_sentence():
                state = pinned_state(replace(place, cohort=cohort), context.run.run_id) or dataset_state(place, cohort)
            if state["status"] == ABSENT or there is None:
                metadata[cohort] = state["note"]
                continue
            with one_sentence():
                data = EvaluationDataset(at_version(there, state.get("version", "")), dataset(cohort))
                evaluators = make_evaluators(context, _always(data), place, method, wanted, f"{cohort}/")
            tasks = chosen_tasks(context, tasks_on(data.facts))
            amount = wanted.amount
            settings = amount.repeated_settings(tasks)
            why = state["note"] if state["status"] == FAILED else ""
            found = [outcome for one in evaluators for outcome in evaluate_or_fail(context, one, settings, why)]
            outcomes += found
            metadata["computed on"] = evaluators[0].compute.description
            metadata |= means_to_plot(found, leading_only=True, prefix=cohort)
            metadata[cohort] = dg.MetadataValue.md(tabulate_outcomes(found))
            metadata |= {} if why else figures(evaluators[0], found, wanted.amount.embedded, f"{cohort} ")
        yield dg.MaterializeResult(
            metadata={**count_outcomes(outcomes), **metadata, **identify(place)},
            data_version=dg.DataVersion(digest_outcomes(outcomes)),
            check_results=[check_results(key, outcomes, identify(place))],
        )

    return downstream


def _always(data: EvaluationDataset) -> Callable[[TrainedRun], EvaluationDataset]:
    """The same dataset for every network."""
    return lambda _: data


def evaluate_or_fail(
    context: dg.AssetExecutionContext, evaluator: Evaluator, settings: Sequence[tuple[str, Setting]], why: str
) -> Iterator[Outcome]:
    """All results on one dataset. What is wrong with the dataset as a whole fails them, and no other dataset."""
    done = 0
    if not why:
        try:
            for outcome in evaluator.evaluate_settings(settings):
                done += 1
                yield outcome
        except Exception as error:
            sentence = sentence_of(error)
            why = sentence or f"{type(error).__name__} in our code; the log of the run has the place."
            if sentence is None:
                # No message: it may quote a report.
                context.log.error("".join(traceback.format_tb(error.__traceback__)))
    if why:
        rest = settings[done // len(WEIGHTS) :]
        yield from islice(evaluator.fail(rest, why), done % len(WEIGHTS), None)
