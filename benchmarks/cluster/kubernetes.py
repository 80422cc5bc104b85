"""The part of Kubernetes' API that dagster-k8s uses, answered by this machine: each pod is a process.

It is no Kubernetes: it has no images, volumes, accounts or scheduler. It answers jobs (create, list, status, delete)
and pods (list, log, delete) in the words of the API, refuses names and labels that Kubernetes refuses, and runs the
command of a job's container with exactly the variables that the job names.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from benchmarks.kills import session_members

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123, as Kubernetes wants it of jobs and pods
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
JOBS = re.compile(r"/apis/batch/v1/namespaces/([^/]+)/jobs(?:/([^/]+))?(/status)?")
PODS = re.compile(r"/api/v1/namespaces/([^/]+)/pods(?:/([^/]+))?(/log)?")
MOST_LABEL = 63


@dataclass
class Job:
    """A job and the process that is its pod."""

    body: dict[str, Any]
    process: subprocess.Popen[bytes]
    log: Path

    def status(self) -> dict[str, int]:
        """As Kubernetes counts pods."""
        code = self.process.poll()
        return {"active": 1} if code is None else {"succeeded": 1} if code == 0 else {"failed": 1}

    def kill(self) -> None:
        """End the pod."""
        for pid in session_members(self.process.pid):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        self.process.wait()


class Cluster:
    """The server, and what runs in it."""

    def __init__(self, folder: Path, node: Mapping[str, str], secrets: Mapping[str, Mapping[str, str]]) -> None:
        """`node` is the environment of every pod before its own; `secrets` name -> variables."""
        self.folder, self.node, self.secrets = folder, dict(node), secrets
        self.jobs: dict[tuple[str, str], Job] = {}
        self.allowed = True  # whether the account of the run may use jobs
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(kubeconfig(self.address)))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def create(self, namespace: str, body: dict[str, Any]) -> str:
        """Start the pod of a job; returns why it is refused, or nothing."""
        name = body["metadata"]["name"]
        template = body["spec"]["template"]
        labels = {**body["metadata"].get("labels", {}), **template["metadata"].get("labels", {})}
        if not NAME.fullmatch(name):
            return f"{name} is no name of a job"
        if wrong := [value for value in labels.values() if len(value) > MOST_LABEL or not LABEL.fullmatch(value)]:
            return f"{wrong[0]} is no value of a label"
        if template["spec"].get("restartPolicy") not in ("Never", "OnFailure"):
            return "restartPolicy of a job is Never or OnFailure"
        (container,) = template["spec"]["containers"]
        if not container.get("image"):
            return "a container needs an image"
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*container.get("command", ()), *container.get("args", ())],
                env={**self.node, **self._variables(container)},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.jobs[namespace, name] = Job(body, process, log)
        return ""

    def find(self, namespace: str, name: str) -> Job | None:
        """A job."""
        return self.jobs.get((namespace, name))

    def running(self) -> list[Job]:
        """The jobs whose pods go on."""
        return [job for job in list(self.jobs.values()) if job.process.poll() is None]

    def pause(self, seconds: float) -> None:
        """Answer nobody for a time, as where the API server is away; its port refuses connections."""
        port = self._server.server_port
        self._server.shutdown()
        self._server.server_close()
        time.sleep(seconds)
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """End everything."""
        self._server.shutdown()
        self._server.server_close()
        for job in self.jobs.values():
            job.kill()

    def _variables(self, container: Mapping[str, Any]) -> dict[str, str]:
        named = {one["name"]: one.get("value", "") for one in container.get("env") or ()}
        sources = [one["secretRef"]["name"] for one in container.get("envFrom") or () if "secretRef" in one]
        return {**{key: value for name in sources for key, value in self.secrets.get(name, {}).items()}, **named}


def _handler_of(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            match = JOBS.fullmatch(urlsplit(self.path).path)
            if match is None or not cluster.allowed:
                self._answer(404 if match is None else 403, {})
            elif cluster.find(match[1], body["metadata"]["name"]):
                self._answer(409, {"reason": "AlreadyExists"})
            elif why := cluster.create(match[1], body):
                self._answer(422, {"reason": "Invalid", "message": why})
            else:
                self._answer(201, body)

        def do_GET(self) -> None:
            place = urlsplit(self.path)
            if not cluster.allowed:
                self._answer(403, {"reason": "Forbidden"})
            elif match := JOBS.fullmatch(place.path):
                self._show_job(match[1], match[2])
            elif match := PODS.fullmatch(place.path):
                self._show_pods(match[1], match[2], parse_qs(place.query))
            else:
                self._answer(404, {})

        def do_DELETE(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = urlsplit(self.path).path
            match = JOBS.fullmatch(path) or PODS.fullmatch(path)
            job = cluster.find(match[1], match[2].removesuffix("-pod")) if match and match[2] else None
            if job:
                job.kill()
            self._answer(200 if job else 404, {})

        def _show_job(self, namespace: str, name: str | None) -> None:
            if not name:
                self._answer(200, {"kind": "JobList", "apiVersion": "batch/v1", "metadata": {}, "items": []})
            elif job := cluster.find(namespace, name):
                self._answer(200, {**job.body, "status": job.status()})
            else:
                self._answer(404, {"reason": "NotFound"})

        def _show_pods(self, namespace: str, name: str | None, query: Mapping[str, list[str]]) -> None:
            if name:
                job = cluster.find(namespace, name.removesuffix("-pod"))
                self._answer(200, job.log.read_text(errors="replace")) if job else self._answer(404, {})
                return
            wanted = query.get("labelSelector", [""])[0].removeprefix("job-name=")
            found = [{"metadata": {"name": f"{wanted}-pod"}}] if cluster.find(namespace, wanted) else []
            self._answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": found})

        def _answer(self, status: int, body: Mapping[str, Any] | str) -> None:
            content = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def kubeconfig(address: str) -> dict[str, Any]:
    """The file by which clients find the server at an address."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": address}}],
        "users": [{"name": "here", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
        "current-context": "here",
    }


@contextmanager
def running(node: Mapping[str, str], secrets: Mapping[str, Mapping[str, str]] | None = None) -> Iterator[Cluster]:
    """A cluster whose pods are ended with it."""
    with tempfile.TemporaryDirectory(prefix="radalign-kubernetes-") as folder:
        cluster = Cluster(Path(folder), node, secrets or {})
        try:
            yield cluster
        finally:
            cluster.close()
