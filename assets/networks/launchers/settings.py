"""The settings of each launcher, as fields of the launchpad: `launcher: {slurm: {nodes: 2}}`."""

from __future__ import annotations

from typing import Any, Literal

import dagster as dg
from pydantic import Field


class OneHost(dg.Config):
    """A child of the step, on the same machine."""

    kind: Literal["subprocess"] = "subprocess"
    processes: int = Field(1, ge=1, description="Processes of the training; one for each GPU.")
    max_restarts: int = Field(0, ge=0, description="Times that torchrun starts several processes again after a fault.")

    @property
    def hosts(self) -> int:
        """How many machines train."""
        return 1


class SeveralHosts(dg.Config):
    """What all launchers for several machines have."""

    nodes: int = Field(1, ge=1, description="Machines of the training.")
    processes: int = Field(1, ge=1, description="Processes on each machine; one for each GPU.")
    max_restarts: int = Field(
        3, ge=0, description="Times that the processes start again, from the last checkpoint, after one of them ended."
    )
    environment: dict[str, str] = Field({}, description="Variables for the training, over those of this run.")

    @property
    def hosts(self) -> int:
        """How many machines train."""
        return self.nodes


class SlurmSettings(SeveralHosts):
    """A job of Slurm, with `sbatch`. The home and the checkout have to be on a disk that its nodes share."""

    kind: Literal["slurm"] = "slurm"
    partition: str = Field("", description="Partition of the job.")
    account: str = Field("", description="Account that pays.")
    time: str = Field("", description="Limit of time, such as 1-00:00:00. A job that reaches it is submitted again.")
    gpus_per_node: int = Field(0, ge=0, description="GPUs on each machine.")
    cpus_per_node: int = Field(0, ge=0, description="Cores on each machine; 0 for what the partition gives.")
    options: list[str] = Field([], description="Further options of sbatch, such as --constraint=h100.")
    setup: list[str] = Field([], description="Lines of shell before the training, such as `module load cuda`.")
    python: str = Field("", description="Python on the nodes. Empty: that of this run.")
    poll_seconds: float = Field(10.0, gt=0, description="Seconds between two looks at the state of the job.")


class RaySettings(SeveralHosts):
    """A job of a Ray cluster. The home and the checkout have to be on a disk that its nodes share."""

    kind: Literal["ray"] = "ray"
    address: str = Field("", description="Ray's dashboard, such as http://head:8265. Empty: RAY_ADDRESS.")
    cpus_per_node: float = Field(1.0, gt=0, description="Cores that the training takes on each node.")
    gpus_per_node: float = Field(0.0, ge=0, description="GPUs that the training takes on each node.")
    spread: bool = Field(True, description="Each part on a node of its own; false: several parts may share one.")
    wait_seconds: float = Field(1800.0, gt=0, description="Seconds to wait for nodes that are free.")
    poll_seconds: float = Field(1.0, gt=0, description="Seconds between two looks at the state of the job.")


class KubernetesSettings(SeveralHosts):
    """An indexed Job of Kubernetes, one pod for each machine. `pod_spec` mounts the home at its path in this run."""

    kind: Literal["kubernetes"] = "kubernetes"
    image: str = Field("", description="Image of the pods, built of this checkout. It has to be given.")
    namespace: str = Field("", description="Namespace. Empty: that of this run's pod, else default.")
    service_account: str = Field("", description="Service account of the pods.")
    requests: dict[str, str] = Field({}, description="Resources that each pod asks for, such as cpu: '8'.")
    limits: dict[str, str] = Field({}, description="Limits of each pod, such as nvidia.com/gpu: '8'.")
    pod_spec: dict[str, Any] = Field(
        {}, description="Further fields of the pods' spec, as Kubernetes calls them: volumes, nodeSelector, ..."
    )
    container: dict[str, Any] = Field({}, description="Further fields of the container, such as volumeMounts.")
    python: str = Field("python", description="Python in the image.")
    port: int = Field(29400, description="Port at which the pods meet.")
    kubeconfig: str = Field("", description="File of the cluster's address and login. Empty: the usual place.")
    context: str = Field("", description="Context in that file. Empty: the current one.")
    wait_seconds: float = Field(1800.0, gt=0, description="Seconds to wait until all pods run.")
    poll_seconds: float = Field(5.0, gt=0, description="Seconds between two looks at the state of the job.")


Launcher = OneHost | SlurmSettings | RaySettings | KubernetesSettings


def launcher_field() -> Any:
    """Type and field of the launcher in the config of a training."""
    said = "Where the training runs: subprocess, slurm, ray or kubernetes, with the settings of that one."
    return Launcher, Field(default=OneHost(processes=1, max_restarts=0), discriminator="kind", description=said)
