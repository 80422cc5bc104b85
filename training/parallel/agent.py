"""`python -m training.parallel.agent [OPTIONS OF TORCHRUN] CONFIG.json`: torchrun for one training, on each host of it.

It is torchrun, with what a training on several hosts needs beside:

- It ends with whoever started it, and its trainers with it (`RADALIGN_STARTED_BY`).
- SIGUSR1 is for the trainers, and does not end it: a scheduler sends it to all processes of a job.
- Every start of the processes has a store of its own. The one that torchrun keeps by default is not given up by all
  hosts when the host that has it is gone (torch 2.15).
- What ends it is one sentence. Exit status: 0 done, 128 + signal where the trainers were stopped by it with their
  checkpoint written, 1 otherwise.
"""

from __future__ import annotations

import os
import signal
import sys

from store.processes import die_with
from training.errors import PARENT

STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT)  # exit status of a trainer that was asked to stop
SHUTDOWN_SECONDS = 50  # for trainers to finish their step and write a checkpoint


def agent_command(
    python: str, nodes: int, processes: int, restarts: int, endpoint: str, meeting: str, request: str
) -> list[str]:
    """The command that every machine of a training runs.

    Args:
        python: the interpreter.
        nodes: how many machines there are.
        processes: how many processes each has.
        restarts: how often they start again from the last checkpoint after one of them ended.
        endpoint: where the machines meet, host:port.
        meeting: a name that no other training has.
        request: the file of the configuration, or its address where the home is on object storage.
    """
    return [
        python,
        "-m",
        "training.parallel.agent",
        f"--nnodes={nodes}",
        f"--nproc-per-node={processes}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={endpoint}",
        f"--rdzv-id={meeting}",
        f"--max-restarts={restarts}",
        request,
    ]


def main(arguments: list[str]) -> int:
    """Run the trainers of this host to their end; returns the exit status."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if os.environ.get(PARENT):
        die_with(int(os.environ[PARENT]))
    if not arguments or arguments[-1].startswith("-"):
        sys.stderr.write("usage: python -m training.parallel.agent [OPTIONS OF TORCHRUN] CONFIG.json\n")
        return 2
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    *options, config = arguments
    return run([f"--shutdown-timeout={SHUTDOWN_SECONDS}", *options, "-m", "training", config])


def run(arguments: list[str]) -> int:
    """torchrun with these arguments; returns the exit status, and says in a sentence why it is not 0."""
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError

    try:
        torchrun.run(torchrun.parse_args(arguments))
    except SignalException as error:
        return 128 + int(error.sigval)
    except ChildFailedError as error:
        statuses = {failure.exitcode for failure in error.failures.values()}
        stopped = [status for status in statuses if status in STOPPED]
        if stopped:
            return stopped[0]
        sys.stderr.write(f"training.parallel.agent: {_describe(statuses)}\n")
        return 1
    except RendezvousError as error:
        sys.stderr.write(f"training.parallel.agent: {_explain(error, arguments)}\n")
        return 1
    return 0


def _describe(statuses: set[int]) -> str:
    ends = [f"signal {-status}" if status < 0 else f"exit status {status}" for status in sorted(statuses)]
    return f"a trainer ended with {' and '.join(ends)}; what it said is above"


def _explain(error: Exception, arguments: list[str]) -> str:
    at = next((word.partition("=")[2] for word in arguments if word.startswith("--rdzv-endpoint=")), "its endpoint")
    return (
        f"the hosts of this training do not meet at {at} ({type(error).__name__}): start it on all of them with the "
        "same --rdzv-endpoint and --rdzv-id, on a host and port that all can reach"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
