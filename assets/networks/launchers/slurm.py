"""A training as a job of Slurm: `sbatch` of a script in the run's folder, followed by `squeue` and `sacct`.

Messages and logs come home through files in the run's folder, which the nodes share. Slurm starts a job that it
preempts again by itself. One that reached its limit of time, or whose node failed, is submitted again by this launcher
as long as each job has come further than the one before.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg

from assets.networks.launchers.common import (
    STOP_SECONDS,
    LaunchedTrainingError,
    LauncherError,
    closing_once,
    command_for,
    forwarding,
    heartbeat_file,
)
from assets.networks.launchers.settings import SlurmSettings
from models.run_files import RESULT
from store.atomic import write_json
from store.code import ROOT
from store.remote import mirror
from training.parallel.heartbeat import HEARTBEAT, beating

PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
AGAIN = ("TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "REQUEUED")  # states after which a new job goes on
GOING_ON = (
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "RESIZING", "STAGE_OUT", "SIGNALING",
    "STOPPED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT",
)  # fmt: skip
WARNING_SECONDS = 120  # before the end of a job, in which a checkpoint is written
ANSWER_SECONDS = 60.0  # that a program of Slurm may take
UNKNOWN_SECONDS = 60.0  # for accounting to know the end of a job
NOT_FOUND = "Invalid job id"  # Slurm's words for a job that ended long ago
UNANSWERED = "unknown, as Slurm does not answer"  # in place of a state: the job goes on
# Slurm's words for what no waiting mends: a partition, an account, an option, a limit of time, a group of users.
REFUSED = re.compile(r"invalid|unrecognized option|not permitted", re.IGNORECASE)
AWAY = re.compile(r"unable to contact", re.IGNORECASE)  # and for a controller that cannot be reached
STEP_STOPPED = 128 + 15  # exit status of a training that was asked to stop


def expect_ready(settings: SlurmSettings, home: Path) -> None:
    """Raise LauncherError where Slurm's programs are not there, or Slurm would refuse the job."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise LauncherError(
            f"The launcher slurm needs {', '.join(missing)} on PATH: start this run on a login node of the cluster, or "
            "choose another launcher."
        )
    if mirror.keeper_of(home) is not None:
        raise LauncherError(
            "The launcher slurm needs a home on a disk that the nodes share, and this one is on object storage: name a "
            "folder in RADALIGN_HOME, or choose the launcher ray or kubernetes."
        )
    _expect_accepted(settings)


def _expect_accepted(settings: SlurmSettings) -> None:
    """LauncherError where Slurm says that it would refuse the job. Nothing is submitted."""
    asked = _ask("sbatch", "--test-only", script="\n".join(["#!/bin/bash", *_directives(settings), "true", ""]))
    if not asked.returncode:
        return
    why = _last_line(asked.stderr)
    if AWAY.search(asked.stderr):
        raise LauncherError(f"Slurm does not answer ({why}): give the same command again when it does.")
    if REFUSED.search(asked.stderr):
        raise LauncherError(
            f"Slurm would refuse the job of the training ({why}): correct the fields of the launcher slurm, such as "
            "`partition`, `account`, `time` and `options`."
        )


def run(
    settings: SlurmSettings, context: dg.AssetExecutionContext, _: dg.PipesSubprocessClient, request: Path, output: Path
) -> None:
    """Train to the end, in one job after the other; raises LaunchedTrainingError for what no new job mends."""
    folder = output / "slurm"
    folder.mkdir(parents=True, exist_ok=True)
    end_earlier(folder, context)
    injector = dg.PipesFileContextInjector(str(folder / "context.json"))
    reader = closing_once(dg.PipesFileMessageReader(str(folder / "messages")), output)
    with (
        dg.open_pipes_session(context.op_execution_context, injector, reader) as session,
        beating(heartbeat_file(output)),
        forwarding(folder / "log.txt"),
    ):
        script = folder / "job.sh"
        variables = {**session.get_bootstrap_env_vars(), HEARTBEAT: str(heartbeat_file(output)), **settings.environment}
        script.touch()
        script.chmod(0o600)  # the variables that the user gives may be secrets
        script.write_text(job_script(settings, request, folder, variables), encoding="utf-8")
        before = ""
        while True:
            job = submit(script, folder, context.log.warning)
            state = follow(job, settings, context, folder)
            if state == "COMPLETED" or (output / RESULT).exists():
                return
            if state == "CANCELLED":
                raise LauncherError(f"Slurm's job {job} was cancelled; the same command goes on from its checkpoint.")
            now = last_checkpoint(output)
            if state not in AGAIN or now == before:
                raise LaunchedTrainingError(f"the job of Slurm ended as {state}")
            context.log.info(f"The job ended as {state}; a new one goes on from {now}.")
            before = now


def job_script(settings: SlurmSettings, request: Path, folder: Path, variables: Mapping[str, str]) -> str:
    """What sbatch is given."""
    python, meeting = settings.python or sys.executable, "$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}"
    agent = command_for(settings, python, "$head:$port", meeting, request)
    return "\n".join(
        [
            "#!/bin/bash",
            *_directives(settings),
            *(f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())),
            *settings.setup,
            f"cd {shlex.quote(str(ROOT))} || exit 1",
            'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            'head=$(scontrol show node -o "$first" | sed -n "s/.* NodeAddr=\\([^ ]*\\).*/\\1/p")',
            "port=$((20000 + SLURM_JOB_ID % 20000))",
            "cores=${SLURM_CPUS_PER_TASK:+--cpus-per-task=$SLURM_CPUS_PER_TASK}",
            f"srun $cores --kill-on-bad-exit=1 {' '.join(map(_quote, agent))}",
            "status=$?",
            f"if [ $status -eq {STEP_STOPPED} ]; then  # Slurm ends the job, and its checkpoint is written",
            '  scontrol requeue "$SLURM_JOB_ID" && sleep 60',
            "fi",
            "exit $status",
            "",
        ]
    )


def _directives(settings: SlurmSettings) -> list[str]:
    """The lines that say what the job asks for."""
    options = {
        "nodes": settings.nodes,
        "ntasks-per-node": 1,
        "partition": settings.partition,
        "account": settings.account,
        "time": settings.time,
        "gpus-per-node": settings.gpus_per_node or "",
        "cpus-per-task": settings.cpus_per_node or "",
        "signal": f"USR1@{WARNING_SECONDS}",
        "open-mode": "append",
    }
    given = [f"--{option}={value}" for option, value in options.items() if value != ""]
    return [f"#SBATCH {option}" for option in ["--requeue", *given, *settings.options]]


def _quote(word: str) -> str:
    """A word of a command; in the options of the meeting, variables of the shell are replaced."""
    return f'"{word}"' if word.startswith("--rdzv-") else shlex.quote(word)


def submit(script: Path, folder: Path, warn: Callable[[str], object] = lambda _: None) -> str:
    """Submit the script; returns the number of the job, which a later run finds in the folder.

    An sbatch that hangs is waited for: Slurm may have taken the job by then, and nobody would follow it. The name of
    the job is in the folder before that: by it, a later run finds a job whose number this one did not hear.
    """
    record, name = folder / "job.json", _name_of(folder)
    write_json(record, {"job": "", "name": name})
    # Not in the script, where a blank ends a path. Slurm replaces %j and the like in it.
    log = str(folder / "log.txt").replace("%", "%%")
    command = ["sbatch", "--parsable", f"--job-name={name}", f"--output={log}", str(script)]
    with ExitStack() as stack:
        sbatch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        stack.callback(sbatch.kill)  # where this step is interrupted
        try:
            said, complaint = sbatch.communicate(timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            warn("sbatch does not answer; waiting for it.")
            said, complaint = sbatch.communicate()
    if sbatch.returncode:
        record.unlink(missing_ok=True)
        raise LauncherError(f"sbatch refused the training: {_last_line(complaint)}")
    job = said.strip().partition(";")[0]
    write_json(record, {"job": job, "name": name})
    return job


def _name_of(folder: Path) -> str:
    """Of the jobs of the run with this folder, and of no others."""
    return f"radalign-{folder.parent.parent.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"


def follow(job: str, settings: SlurmSettings, context: dg.AssetExecutionContext, folder: Path) -> str:
    """Wait until the job has ended, and say what it waits for; returns its last state. The job ends with this step.

    Its record stays in the folder where Slurm could not be told to end it: the next step does.
    """
    said, unknown_since, record = "", 0.0, folder / "job.json"
    try:
        while True:
            state, why = job_state(job)
            if is_over(state):
                break
            if not state:
                unknown_since = unknown_since or time.monotonic()
                if time.monotonic() - unknown_since > UNKNOWN_SECONDS:
                    state = "lost: neither squeue nor sacct knows it"
                    break
            else:
                unknown_since = 0.0
            now = f"{state} {why}".strip()
            if now != said and state:
                context.log.info(f"Slurm's job {job}: {now}.")
                said = now
            time.sleep(settings.poll_seconds)
    except BaseException:
        if cancel(job):
            record.unlink(missing_ok=True)
        raise
    record.unlink(missing_ok=True)
    return state


def job_state(job: str) -> tuple[str, str]:
    """The state of a job and why it waits; "" where Slurm does not know it, UNANSWERED where it does not answer."""
    queued = _ask("squeue", "-h", "-j", job, "-o", "%T|%r")
    line = queued.stdout.strip()
    if line:
        state, _, why = line.splitlines()[0].partition("|")
        if not is_over(state):
            return state, "" if why == "None" else why
    elif queued.returncode and NOT_FOUND not in queued.stderr:
        return UNANSWERED, ""
    ended = _ask("sacct", "-n", "-X", "-P", "-D", "-j", job, "-o", "State")
    states = [state.split()[0] for state in ended.stdout.splitlines() if state.strip()]
    if not states:  # a cluster without accounting: the controller remembers a job for some minutes
        shown = _ask("scontrol", "show", "job", "-o", job)
        states = re.findall(r"JobState=(\w+)", shown.stdout)
    return (states[-1], "") if states else ("", "")


def is_over(state: str) -> bool:
    """Whether a job in this state will not run again by itself."""
    return state not in ("", UNANSWERED, *GOING_ON)


def cancel(job: str) -> bool:
    """End a job, and wait until it has written its checkpoint; whether Slurm has heard of it."""
    deadline, heard = time.monotonic() + STOP_SECONDS, False
    while True:
        if not heard:
            asked = _ask("scancel", job)
            heard = not asked.returncode or NOT_FOUND in asked.stderr
        state, _ = job_state(job)
        if is_over(state) or (heard and not state):
            return True
        if time.monotonic() > deadline:
            return heard
        time.sleep(0.5)


def end_earlier(folder: Path, context: dg.AssetExecutionContext) -> None:
    """End the job of an earlier step that was killed: two trainings never write into one folder.

    LauncherError where Slurm does not answer.
    """
    record = folder / "job.json"
    if not record.exists():
        return
    known = json.loads(record.read_text(encoding="utf-8"))
    for job in [str(known["job"])] if known.get("job") else _jobs_of(str(known.get("name", ""))):
        state, _ = job_state(job)
        if state and not is_over(state):
            context.log.info(f"Slurm's job {job} of an earlier run is {state}; it is ended first.")
            if not cancel(job):
                raise _unheard(f"its job {job}")
    record.unlink(missing_ok=True)


def _jobs_of(name: str) -> list[str]:
    """The jobs of this name that wait or run; LauncherError where Slurm does not answer."""
    asked = _ask("squeue", "-h", f"--name={name}", "-o", "%i")
    if asked.returncode:
        raise _unheard("a job")
    return asked.stdout.split()


def _unheard(job: str) -> LauncherError:
    return LauncherError(
        f"Slurm does not answer, so that {job} of an earlier run may go on in this folder: the same command ends it "
        "when Slurm answers."
    )


def last_checkpoint(output: Path) -> str:
    """The name of the run's last checkpoint, or ""."""
    return max((path.name for path in (output / "checkpoints").glob("step-????????")), default="")


def _ask(*command: str, script: str | None = None) -> subprocess.CompletedProcess[str]:
    """What a program of Slurm answers; one that hangs, as its controller is away, has failed."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS, input=script
        )
    except subprocess.TimeoutExpired:
        reason = f"{command[0]} did not answer within {ANSWER_SECONDS:.0f} s"
        return subprocess.CompletedProcess(command, 1, "", reason)


def _last_line(text: Any) -> str:
    lines = str(text).strip().splitlines()
    return lines[-1] if lines else "it gave no reason"
