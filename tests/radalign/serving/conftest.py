"""A real server with two small networks, asked over its port."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from safetensors.torch import save_file

from benchmarks.images import draw_image, write_dicom
from models.saved import ModelCard
from radalign.serving.guard import HOST
from store.code import ROOT
from tests.models.tiny import KNOWLEDGE, SIZE, TINY, tiny_method

PATIENCE = 120
MOST_MIB = 4
SHARD = 48  # side of the images in the shards


def write_run(folder: Path, method: str) -> Path:
    """The folder of a run with random weights."""
    folder.mkdir(parents=True)
    network = tiny_method(method)
    ModelCard(method, TINY[method], KNOWLEDGE, SIZE, shard_size=SHARD).save(folder)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / WEIGHTS)
    return folder


WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class RunningServer:
    """`radalign serve` of two networks on a free port; what it writes goes to files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = [write_run(folder / "home" / "runs" / method, method) for method in ("convirt", "medklip")]
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        command = [sys.executable, "-m", "radalign", "serve", *map(str, self.runs)]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [*command, "--port", "0", "--limit", str(MOST_MIB)],
                cwd=folder,
                env={**os.environ, "RADALIGN_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)},
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while not (found := re.search(rf"http://{HOST}:(\d+)", self.out.read_text())):
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        self.port = int(found[1])

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        line = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        try:
            line.request(method, path, body, headers or {})
            answer = line.getresponse()
            names = {name.lower() for name, _ in answer.getheaders()}
            headers = {name: ", ".join(answer.headers.get_all(name)) for name in names}
            return Answer(answer.status, headers, answer.read())
        finally:
            line.close()

    def predict(self, image: bytes, findings: list[str], **options: str) -> Answer:
        query = urlencode([*(("findings", one) for one in findings), *options.items()])
        return self.ask("POST", f"/predict?{query}", image, {"content-type": "application/octet-stream"})

    def ask_json(self, path: str, **fields: Any) -> Answer:
        return self.ask("POST", path, json.dumps(fields), {"content-type": "application/json"})

    def processes(self) -> list[int]:
        """The server and what it has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        of_threads = [child for task in tasks for child in (task / "children").read_text().split()]
        return [self.process.pid, *{int(child) for child in [*children, *of_threads]}]

    def written(self) -> bytes:
        """Everything that it has written, and every file of its home."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.name != WEIGHTS]
        return b"\n".join(path.read_bytes() for path in files)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path_factory.mktemp("serving"))
    try:
        server.wait()
        yield server
    finally:
        started = server.processes()
        assert server.stop() == 0
        end = time.monotonic() + PATIENCE
        while any(Path(f"/proc/{pid}").exists() for pid in started):
            assert time.monotonic() < end, "a process stays behind"
            time.sleep(0.05)


@pytest.fixture(scope="session")
def film(tmp_path_factory) -> Path:
    """A DICOM of 120 x 90 pixels."""
    return write_dicom(tmp_path_factory.mktemp("films") / "film.dcm", draw_image(120, 90, seed=1))
