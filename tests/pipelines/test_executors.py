from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from pipelines import executors
from pipelines.executors import available, choice_of


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

    @dg.job(executor_def=choice_of({**available(), "other": other}))
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


def test_packages_that_are_there_are_offered(monkeypatch):
    monkeypatch.setitem(executors.OPTIONAL, "again", ("dagster", "in_process_executor"))
    monkeypatch.setitem(executors.OPTIONAL, "absent", ("no_such_package", "executor"))
    assert available()["again"] is dg.in_process_executor
    assert "absent" not in available()


def test_an_unknown_name_is_refused():
    small = job_with_another([])
    with pytest.raises(dg.DagsterInvalidConfigError, match="slurm"):
        dg.validate_run_config(small, {"execution": {"config": {"slurm": {}}}})
