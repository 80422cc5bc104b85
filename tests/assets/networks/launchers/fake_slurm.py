"""The programs of Slurm that the launcher uses, on one machine: queue, requeue, preemption, cancellation.

`install(folder)` makes them in `folder/bin`. Their jobs are processes of this machine; a node is one
session.
As the real ones do: signals of a preemption reach all processes of the steps, not the batch script; `scancel` reaches
the script too; a job that is preempted starts again with the same number.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "srun")
PLACE = "FAKE_SLURM"  # in the environment: the folder
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")


def install(folder: Path) -> Path:
    """Make the programs, each of which is this file under its name; returns their folder."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for name in PROGRAMS:
        path = programs / name
        path.write_text(f'#!/bin/sh\n{PLACE}={folder} exec {sys.executable} -S {__file__} {name} "$@"\n')
        path.chmod(0o755)
    return programs


class Job:
    """What is known of a job, in a file."""

    def __init__(self, folder: Path, number: str) -> None:
        self.folder, self.number = folder, number
        self.path = folder / f"job-{number}.json"

    def read(self) -> dict:
        return json.loads(self.path.read_text())

    def write(self, **changes: object) -> None:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content = {**(self.read() if self.path.exists() else {}), **changes}
            partial = self.path.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(content))
            partial.replace(self.path)

    def state(self) -> str:
        return self.read()["state"]

    def processes(self, steps: bool = True, script: bool = False) -> list[int]:
        """Ids of the processes that belong to it."""
        return [pid for pid, is_step in self._members() if (steps and is_step) or (script and not is_step)]

    def _members(self):
        mark = f"SLURM_JOB_ID={self.number}".encode()
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                variables = path.read_bytes().split(b"\0")
            except OSError:
                continue
            own = int(path.parent.name) == os.getpid()  # scontrol, which the script starts
            if not own and mark in variables and f"{PLACE}_OF_JOB={self.folder}".encode() in variables:
                yield int(path.parent.name), any(one.startswith(b"SLURM_PROCID=") for one in variables)

    def signal(self, number: int, script: bool = False) -> None:
        for pid in self.processes(script=script):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self, state: str, grace: float = 30.0) -> None:
        """SIGTERM to everything, SIGKILL after the grace; the supervisor sees why in `wish`."""
        self.write(wish=state)
        own = set(self.processes(script=True))  # not those of the same job when it has started again
        self.signal(signal.SIGTERM, script=state != "REQUEUE")
        deadline = time.monotonic() + grace
        while (left := own & set(self.processes(script=True))) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def preempt(folder: Path, number: str) -> None:
    """What Slurm does for a job of higher priority: the job's own signal, SIGTERM, and the queue again."""
    job = Job(folder, number)
    job.signal(signal.SIGUSR1)
    time.sleep(0.3)
    job.end("REQUEUE")


def reach_limit(folder: Path, number: str) -> None:
    """What Slurm does at the end of a job's time."""
    Job(folder, number).end("TIMEOUT", grace=5)


def sbatch(folder: Path, arguments: list[str]) -> int:
    said = sys.stdin.read() if arguments[-1].startswith("--") else Path(arguments[-1]).read_text()
    lines = [line.removeprefix("#SBATCH ") for line in said.splitlines() if line.startswith("#SBATCH ")]
    given = [one.split()[0] for one in lines] + [one for one in arguments if one.startswith("--")]  # blanks end a value
    options = dict(one.removeprefix("--").split("=", 1) for one in given if "=" in one)
    is_test = "--test-only" in arguments
    if "partition" in options and options["partition"] != "known":
        what = "allocation failure" if is_test else "sbatch: error: Batch job submission failed"
        sys.stderr.write(f"{what}: Invalid partition name specified\n")
        return 1
    if is_test:
        sys.stderr.write("sbatch: Job 1 to start at 2026-11-30T00:00:00 using 1 processors on nodes node1\n")
        return 0
    script, options["output"] = arguments[-1], options["output"].replace("%%", "%")
    number = str(len(list(folder.glob("job-*.json"))) + 1)
    job = Job(folder, number)
    job.write(state="PENDING", script=script, options=options, restarts=0, wish="", history=[])
    with open(os.devnull, "w") as nothing:
        subprocess.Popen(
            [sys.executable, "-S", __file__, "supervise", number], stdin=subprocess.DEVNULL, stdout=nothing,
            stderr=nothing, start_new_session=True, env={**os.environ, f"{PLACE}_OF_JOB": str(folder)},
        )  # fmt: skip
    sys.stdout.write(f"{number};cluster\n")
    return 0


def supervise(folder: Path, arguments: list[str]) -> int:
    """Run a job until it is over, as the controller and the daemon of its first node do."""
    job = Job(folder, arguments[0])
    about = job.read()
    nodes = int(about["options"].get("nodes", "1"))
    while True:
        time.sleep(0.2)
        count = job.read()["restarts"]
        names = {"SLURM_JOB_ID": job.number, "SLURM_NNODES": str(nodes), "SLURM_JOB_NODELIST": f"node[1-{nodes}]"}
        restarts = {"SLURM_RESTART_COUNT": str(count)} if count else {}
        if job.read()["wish"]:
            job.write(state=job.read()["wish"])
            return 0
        job.write(state="RUNNING")
        with open(about["options"]["output"], "a") as output:
            script = subprocess.Popen(
                ["bash", about["script"]], stdout=output, stderr=output, env={**os.environ, **names, **restarts},
                start_new_session=True,
            )  # fmt: skip
            status = script.wait()
        wish = job.read()["wish"]
        if wish == "REQUEUE":
            job.write(state="PENDING", wish="", restarts=count + 1, history=[*job.read()["history"], "PREEMPTED"])
            continue
        job.write(state=wish or ("FAILED" if status else "COMPLETED"))
        return 0


def srun(folder: Path, arguments: list[str]) -> int:
    while arguments[0].startswith("--"):
        arguments = arguments[1:]
    tasks = []
    for number in range(int(os.environ["SLURM_NNODES"])):
        own = {"SLURM_PROCID": str(number), "SLURM_NODEID": str(number)}
        tasks.append(subprocess.Popen(arguments, env={**os.environ, **own}, start_new_session=True))
    while any(task.poll() is None for task in tasks):
        if any(task.poll() for task in tasks):  # --kill-on-bad-exit
            for task in tasks:
                if task.poll() is None:
                    task.terminate()
            break
        time.sleep(0.1)
    statuses = [task.wait() for task in tasks]
    return max(128 - status if status < 0 else status for status in statuses)


def squeue(folder: Path, arguments: list[str]) -> int:
    if arguments[1].startswith("--name="):
        jobs = [Job(folder, path.stem.removeprefix("job-")) for path in folder.glob("job-*.json")]
        named = [job for job in jobs if job.read()["options"]["job-name"] == arguments[1].removeprefix("--name=")]
        sys.stdout.write("".join(f"{job.number}\n" for job in named if job.state() not in OVER))
        return 0
    job = Job(folder, arguments[arguments.index("-j") + 1])
    if not job.path.exists() or job.state() in OVER:
        sys.stderr.write("slurm_load_jobs error: Invalid job id specified\n")
        return 1
    state = job.state()
    sys.stdout.write(f"{state}|{'Priority' if state == 'PENDING' else 'None'}\n")
    return 0


def sacct(folder: Path, arguments: list[str]) -> int:
    job = Job(folder, arguments[arguments.index("-j") + 1])
    if job.path.exists():
        state = job.state()
        sys.stdout.write("".join(f"{one}\n" for one in job.read()["history"]))
        sys.stdout.write(f"{state}{' by 0' if state == 'CANCELLED' else ''}\n")
    return 0


def scancel(folder: Path, arguments: list[str]) -> int:
    job = Job(folder, arguments[-1])
    if job.state() not in OVER:
        job.end("CANCELLED")
    return 0


def scontrol(folder: Path, arguments: list[str]) -> int:
    if arguments[:2] == ["show", "hostnames"]:
        nodes = int(re.findall(r"\d+", arguments[2])[-1])
        sys.stdout.write("".join(f"node{number}\n" for number in range(1, nodes + 1)))
    elif arguments[:2] == ["show", "node"]:
        sys.stdout.write("NodeName=node1 Arch=x86_64 NodeAddr=127.0.0.1 NodeHostName=node1 Version=0\n")
    elif arguments[0] == "requeue":
        Job(folder, arguments[1]).end("REQUEUE", grace=1)
    return 0


if __name__ == "__main__":
    place = Path(os.environ.get(PLACE) or os.environ[f"{PLACE}_OF_JOB"])
    sys.exit(globals()[sys.argv[1]](place, sys.argv[2:]))
