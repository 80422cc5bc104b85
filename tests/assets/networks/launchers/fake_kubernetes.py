"""The part of Kubernetes' API that the launcher uses, answered by this machine: each pod is a process.

It is no Kubernetes: it has no images, volumes, accounts or scheduler. Pods of an indexed Job get their index; the names
by which they would meet are replaced by this machine's address.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from benchmarks.cluster.kubernetes import kubeconfig
from store.code import ROOT

PLACE = re.compile(r"/(?:api/v1|apis/batch/v1)/namespaces/([^/]+)/(jobs|pods|services)(?:/([^/]+))?(/log)?")


class Cluster:
    """The server and its pods; `folder` has the logs and a kubeconfig."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.jobs, self.services = folder, {}, {}
        self.pods: dict[str, subprocess.Popen[bytes]] = {}
        self.deleted: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.kubeconfig = folder / "kubeconfig"
        address = f"http://127.0.0.1:{self._server.server_port}"
        self.kubeconfig.write_text(yaml.safe_dump(kubeconfig(address)))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def create_job(self, body: dict[str, Any]) -> None:
        """Start the pods of a Job."""
        name, spec = body["metadata"]["name"], body["spec"]
        assert spec["completionMode"] == "Indexed"
        assert self.services[name]["spec"]["clusterIP"] == "None"
        assert spec["template"]["spec"]["subdomain"] == name
        self.jobs[name] = body
        container = spec["template"]["spec"]["containers"][0]
        variables = {one["name"]: one["value"] for one in container["env"]}
        command = [word.replace(f"{name}-0.{name}", "127.0.0.1") for word in container["command"]]
        for index in range(spec["completions"]):
            with self.log(f"{name}-{index}").open("wb") as output:
                self.pods[f"{name}-{index}"] = subprocess.Popen(
                    command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                    env={"PATH": os.environ["PATH"], "JOB_COMPLETION_INDEX": str(index), "OMP_NUM_THREADS": "1",
                         **variables},
                )  # fmt: skip

    def log(self, pod: str) -> Path:
        """What a pod has written."""
        return self.folder / f"{pod}.log"

    def delete_job(self, name: str) -> None:
        """End the pods of a Job as Kubernetes does: SIGTERM, then SIGKILL."""
        self.deleted.append(name)
        self.jobs.pop(name, None)
        own = [pod for pod in self.pods if pod.startswith(f"{name}-")]
        for pod in own:
            if self.pods[pod].poll() is None:
                self.pods[pod].send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 60
        for pod in own:
            try:
                self.pods[pod].wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.pods[pod].kill()
                self.pods[pod].wait()
            del self.pods[pod]

    def job(self, name: str) -> dict[str, Any] | None:
        """A Job with its status."""
        if name not in self.jobs:
            return None
        statuses = [process.poll() for pod, process in self.pods.items() if pod.startswith(f"{name}-")]
        condition = "Failed" if any(statuses) else "Complete" if all(one == 0 for one in statuses) else ""
        status = {"conditions": [{"type": condition, "status": "True"}]} if condition else {"active": len(statuses)}
        return {**self.jobs[name], "status": status}

    def pod(self, name: str) -> dict[str, Any]:
        """A pod as the API shows it."""
        code = self.pods[name].poll()
        phase = "Running" if code is None else "Succeeded" if code == 0 else "Failed"
        return {"metadata": {"name": name}, "spec": {"containers": []}, "status": {"phase": phase}}

    def close(self) -> None:
        """End everything."""
        for name in list(self.jobs):
            self.delete_job(name)
        self._server.shutdown()
        self._server.server_close()


def _handler_of(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body, (namespace, kind, _, _) = self._body(), self._place()
            if namespace == "nowhere":
                self._answer(404, {"kind": "Status", "reason": "NotFound"})
                return
            if "dryRun=All" in self.path:
                resources = kind == "jobs" and body["spec"]["template"]["spec"]["containers"][0]["resources"]
                wrong = resources and "much" in str(resources)
                field = "spec.template.spec.containers[0].resources.limits[memory]"
                status = {"kind": "Status", "details": {"causes": [{"field": field, "message": "Invalid value: much"}]}}
                self._answer(422 if wrong else 201, status if wrong else body)
                return
            if kind == "services":
                cluster.services[body["metadata"]["name"]] = body
            else:
                cluster.create_job(body)
            self._answer(201, body)

        def do_DELETE(self) -> None:
            self._body()
            _, kind, name, _ = self._place()
            if kind == "jobs" and name in cluster.jobs:
                threading.Thread(target=cluster.delete_job, args=(name,)).start()
                self._answer(200, {"kind": "Status"})
            elif kind == "services" and cluster.services.pop(name, None):
                self._answer(200, {"kind": "Status"})
            else:
                self._answer(404, {"kind": "Status", "reason": "NotFound"})

        def do_GET(self) -> None:
            _, kind, name, log = self._place()
            if log:
                self._follow(name)
            elif kind == "jobs":
                found = cluster.job(name)
                self._answer(200 if found else 404, found or {"kind": "Status"})
            else:
                wanted = parse_qs(urlsplit(self.path).query)["labelSelector"][0].partition("=")[2]
                items = [cluster.pod(pod) for pod in list(cluster.pods) if pod.startswith(f"{wanted}-")]
                self._answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

        def _follow(self, pod: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Connection", "close")
            self.end_headers()
            at, process = 0, cluster.pods.get(pod)
            while True:
                ended = process is None or process.poll() is not None
                content = cluster.log(pod).read_bytes()
                whole = len(content) if ended else content.rfind(b"\n") + 1
                for line in content[at:whole].splitlines():
                    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()
                    self.wfile.write(stamp + b" " + line + b"\n")
                self.wfile.flush()
                at = whole
                if ended:
                    self.close_connection = True
                    return
                time.sleep(0.1)

        def _place(self) -> tuple[str, str, str, str]:
            match = PLACE.fullmatch(urlsplit(self.path).path)
            assert match, self.path
            return match[1], match[2], match[3] or "", match[4] or ""

        def _body(self) -> dict[str, Any]:
            return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")

        def _answer(self, status: int, body: Mapping[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
