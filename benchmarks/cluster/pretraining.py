"""`python -m benchmarks.cluster.pretraining`: does a training on several hosts end in the weights of one?

Hosts are simulated (`benchmarks.cluster.hosts`); on each an agent of torchrun trains a tiny network over gloo. With
`--fault`, something happens at a random moment in each round: `worker` and `head` are killed, the latter is the host
that writes the run; `cut` takes a host from the others for `--seconds` and gives it back; `shrink` kills one for good.
Where an agent ends, the same command is given again on its host. Printed is the largest difference of a weight from a
training in one process, and what was done again.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file

from benchmarks.cluster.hosts import CHECKOUT, Host, Hosts, simulate_hosts
from models.run_files import METRICS, RESULT, TRAINED
from tests.models.tiny import TINY
from tests.training.conftest import shard_rows, write_shards
from training.config import TrainingConfig
from training.loop import train

FAULTS = ("none", "worker", "head", "cut", "shrink")
PORT = 29400
LIMIT = 600.0  # seconds of a round
# Seconds: of waiting for hosts that start again, of waiting for more of them, between signs of life
MEETING = "join_timeout=300,last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=3"


def tiny_training(folder: Path, steps: int = 40) -> TrainingConfig:
    """A network of a million weights on noise, whose run lies in `folder`."""
    shards = write_shards(folder / "shards", shard_rows(96))
    return TrainingConfig(
        "chexzero", str(shards), str(shards / "knowledge.parquet"), str(folder / "run"),
        method_config={**TINY["chexzero"], "sections": "findings"}, batch_size=8, max_steps=steps, optimizer="sgd",
        learning_rate=1e-3, precision="fp32", checkpoint_every=5, log_every=1, threads=1, peer_timeout=10.0,
    )  # fmt: skip


class Fleet:
    """Hosts that train together. The last one is where they meet, and the first one writes the run."""

    def __init__(self, hosts: Hosts, config: TrainingConfig, fewest: int = 0) -> None:
        self.hosts, self.config, self.output = hosts, config, Path(config.output)
        count = len(hosts)
        nodes = f"{fewest}:{count}" if fewest else str(count)
        self.options = [
            f"--nnodes={nodes}", "--nproc-per-node=1", "--rdzv-backend=c10d", "--max-restarts=20",
            f"--rdzv-endpoint={hosts[-1].address}:{PORT}", "--rdzv-id=benchmark", f"--rdzv-conf={MEETING}",
        ]  # fmt: skip
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        self.again = 0

    def start(self, host: Host) -> None:
        """Give the command on a host."""
        path = host.home / "config.json"
        self.config.save(path)
        command: list[str | Path] = [sys.executable, "-m", "training.parallel.agent", *self.options, path]
        self.agents[host.name] = host.start(command, {"OMP_NUM_THREADS": "1"}, folder=CHECKOUT)

    def start_all(self) -> None:
        """Give the command on all hosts."""
        for host in self.hosts:
            self.start(host)

    def steps(self) -> int:
        """The last step of which the run has written."""
        path = self.output / METRICS
        lines = path.read_text().splitlines() if path.exists() else []
        return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)

    def await_step(self, step: int) -> None:
        """Wait until the run has come so far."""
        deadline = time.monotonic() + LIMIT
        while self.steps() < step:
            if time.monotonic() > deadline:
                raise RuntimeError(f"step {step} was not reached:\n{self.logs()}")
            self.give_again()
            time.sleep(0.05)

    def give_again(self, but: str = "") -> None:
        """Give the command again on hosts whose agent has ended without success."""
        for host in self.hosts:
            agent = self.agents.get(host.name)
            if agent is not None and host.name != but and agent.poll():
                self.again += 1
                self.start(host)

    def finish(self, but: str = "") -> None:
        """Wait until the run has its result, and all agents but those on the host `but` have ended."""
        deadline = time.monotonic() + LIMIT
        while not (self.output / RESULT).exists() or any(
            agent.poll() is None for name, agent in self.agents.items() if name != but
        ):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the run did not end:\n{self.logs()}")
            if not (self.output / RESULT).exists():
                self.give_again(but)
            time.sleep(0.05)

    def logs(self) -> str:
        """What the hosts said last."""
        return "\n".join(f"{host.name}:\n{(host.home / 'output.log').read_text()[-3000:]}" for host in self.hosts)


@contextmanager
def fleet(count: int, config: TrainingConfig, fewest: int = 0) -> Iterator[Fleet]:
    """Hosts on which nothing runs yet."""
    with simulate_hosts(count) as hosts:
        yield Fleet(hosts, config, fewest)


def disturb(fleet: Fleet, fault: str, seconds: float) -> str:
    """Let something happen; returns the name of a host that is gone for good."""
    head, *others = fleet.hosts
    host = head if fault in ("head", "shrink") else random.choice(others)
    if fault in ("worker", "head"):
        host.kill()
        fleet.again += 1
        fleet.start(host)
    elif fault == "cut":
        host = random.choice(fleet.hosts)
        host.cut()
        time.sleep(seconds)
        host.join()
    elif fault == "shrink":
        host.kill()
        del fleet.agents[host.name]
        return host.name
    return ""


def difference(first: Path, second: Path) -> float:
    """The largest difference of a weight of two finished runs."""
    one, other = (load_file(folder / TRAINED) for folder in (first, second))
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each round; returns 1 if a weight differs by more than 1e-6."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--fault", choices=FAULTS, default="none")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long a host is cut off")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    random.seed(options.seed)
    worst = 0.0
    print("| hosts | fault | at step | resumed from | commands given again | difference | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        config = tiny_training(Path(folder), options.steps)
        alone = replace(config, output=f"{folder}/alone")
        train(alone)
        for number in range(options.rounds):
            start, step, gone = time.monotonic(), 0, ""
            this = replace(config, output=f"{folder}/run-{number}")
            with fleet(options.hosts, this, fewest=int(options.fault == "shrink")) as running:
                running.start_all()
                if options.fault != "none":
                    running.await_step(random.randint(1, options.steps - 5))
                    step = running.steps()
                    gone = disturb(running, options.fault, options.seconds)
                running.finish(gone)
            result = json.loads((running.output / RESULT).read_text())
            found = difference(Path(alone.output), running.output)
            worst = max(worst, found)
            print(
                f"| {options.hosts} | {options.fault} | {step} | {result['resumed_from']} | {running.again} "
                f"| {found:.1e} | {time.monotonic() - start:.0f} |",
                flush=True,
            )
    return int(worst > 1e-6)


if __name__ == "__main__":
    raise SystemExit(main())
