"""A training as a job of Ray, which takes a place on each machine: `training/parallel/ray_job.py`.

Messages and logs come home through the job's log. A job whose step was killed is ended by the training itself, which
then hears no sign of life, or by the next step.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg

from assets.networks.launchers.common import (
    STOP_SECONDS,
    LauncherError,
    closing_once,
    environment_of,
    heartbeat_file,
)
from assets.networks.launchers.settings import RaySettings
from store.code import ROOT
from store.remote import mirror
from training.parallel.heartbeat import beating

RUN = "radalign_run"  # metadata of a job: the folder of its run
ADDRESS = "RAY_ADDRESS"


def expect_ready(settings: RaySettings, _: Path) -> None:
    """Raise LauncherError where Ray is not installed, or no cluster answers."""
    if not find_spec("ray") or not find_spec("dagster_ray"):
        raise LauncherError("The launcher ray needs packages of its own: run pip install '.[ray]' in the checkout.")
    address = _address(settings)
    if not address.startswith(("http://", "https://")):
        raise LauncherError(
            "The launcher ray needs the address of the cluster's dashboard, such as http://head:8265, as `address` or "
            f"in {ADDRESS}."
        )
    from training.parallel.ray_client import refusal_of

    if why := refusal_of(address):
        raise LauncherError(why)


def run(
    settings: RaySettings, context: dg.AssetExecutionContext, _: dg.PipesSubprocessClient, request: Path, output: Path
) -> None:
    """Train to the end; raises what ends the job otherwise."""
    from dagster_ray.core.pipes import PipesRayJobClient, PipesRayJobMessageReader

    from training.parallel.ray_client import PatientClient, addressing

    client = PipesRayJobClient(
        _address(settings),
        message_reader=closing_once(PipesRayJobMessageReader(), output),
        poll_interval=settings.poll_seconds,
    )
    client.client = PatientClient(_address(settings))  # in the place of one that may wait for ever
    _end_earlier(client.client, output, context)
    given = json.dumps(settings.model_dump(exclude={"kind", "address", "environment", "poll_seconds"}))
    command = [sys.executable, "-m", "training.parallel.ray_job", given, mirror.address_of(request)]
    variables = {**environment_of(settings, output, {}), "RAY_JOB_STOP_WAIT_TIME_S": str(int(STOP_SECONDS))}
    with addressing(_address(settings)), beating(heartbeat_file(output)):
        client.run(
            context=context.op_execution_context,
            submit_job_params={
                "entrypoint": f"cd {shlex.quote(str(ROOT))} && exec {shlex.join(command)}",
                "metadata": {RUN: str(output)},
                "runtime_env": {"env_vars": variables},
            },
        )


def _address(settings: RaySettings) -> str:
    return (settings.address or os.environ.get(ADDRESS, "")).rstrip("/")


def _end_earlier(client: Any, output: Path, context: dg.AssetExecutionContext) -> None:
    """End the job of an earlier step that was killed: two trainings never write into one folder."""
    going_on = [
        job.submission_id
        for job in client.list_jobs()
        if (job.metadata or {}).get(RUN) == str(output) and not job.status.is_terminal()
    ]
    for job in going_on:
        context.log.info(f"Ray's job {job} of an earlier run goes on; it is ended first.")
        client.stop_job(job)
        deadline = time.monotonic() + STOP_SECONDS
        while not client.get_job_status(job).is_terminal() and time.monotonic() < deadline:
            time.sleep(0.5)
