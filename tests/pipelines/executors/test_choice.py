from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from pipelines.executors.choice import ELSEWHERE, HERE, choice_of, create, expect_package
from store.errors import SettingError


def job_with_another(used):
    @dg.executor(name="other", config_schema={"workers": dg.Field(int, default_value=3)})
    def other(context):
        used.append(context.executor_config["workers"])
        return dg.in_process_executor.executor_creation_fn(
            context._replace(executor_config={"retries": {"enabled": {}}})
        )

    @dg.op
    def work():
        return 1

    @dg.job(executor_def=choice_of({**HERE, **ELSEWHERE, "other": other}))
    def small():
        work()

    return small


def test_the_run_config_chooses_with_the_chosen_ones_own_defaults():
    used = []
    small = job_with_another(used)
    for settings in ({}, {"workers": 5}):
        config = {"execution": {"config": {"other": settings}}}
        instance = dg.DagsterInstance.ephemeral()
        run = instance.create_run_for_job(small, run_config=config)
        assert execute_run(InMemoryJob(small), run, instance).success
    assert used == [3, 5]


def test_settings_of_an_executor_are_checked_against_its_own_schema():
    """Those of a package that was not imported before."""
    job, executor = InMemoryJob(job_with_another([])), dg.in_process_executor
    context = dg.InitExecutorContext(job, executor, {}, dg.DagsterInstance.ephemeral())
    assert create(executor, context, {"retries": {"disabled": {}}}).retries.disabled
    assert create(executor, context, {}).retries.enabled
    with pytest.raises(SettingError, match=r"in_process: .*`retris`.*`retries`"):
        create(executor, context, {"retris": {}})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ray": {"adress": "http://head:8265"}}, "adress"),
        ({"ray": {"num_cpus": "two"}}, "num_cpus"),
        ({"slurm": {}}, "slurm"),
    ],
)
def test_an_unknown_name_is_refused(settings, said):
    small = job_with_another([])
    with pytest.raises(dg.DagsterInvalidConfigError, match=said):
        dg.validate_run_config(small, {"execution": {"config": settings}})


def test_a_package_that_is_missing_is_named_with_its_extra():
    with pytest.raises(SettingError, match=r"pip install '\.\[ray\]'"):
        expect_package("ray", "no_such_package", "ray")
    expect_package("ray", "dagster", "ray")
