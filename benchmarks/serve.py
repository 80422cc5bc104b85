"""`python -m benchmarks.serve --requests 1000`: how long `radalign serve` takes to answer, decoding and network apart.

A ConVIRT of the paper's image tower (ResNet-50, 224 pixels) with random weights is served by the real command. A DICOM
of 3056 x 2544 pixels is sent again and again: a real film that was enlarged and given the noise of a detector
(`--image`, such as one of `shared/data/dicom_samples/real`), or a drawn one. `--way page` does what the page does:
`/images`, the pixels, then `/predict` with maps. `--way predict` sends the file to `/predict`.

`--damaged N` sends N damaged files of `benchmarks.damaged_files` instead, and fails where one gets no answer of one
sentence, or the server and its decoders grow by more than MOST_GROWTH.

The last line says whether the 95th percentile keeps to `--bar`. Other work on the machine counts in the times, so the
load is printed, and the processor time of the server for each request.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from tqdm import tqdm

from benchmarks.damaged_files import mutate, specimens
from benchmarks.images import COMPRESSIONS, draw_image, write_dicom
from imaging.decode import read_grey
from models.saved import ModelCard

HOST = "127.0.0.1"
ROWS, COLUMNS = 3056, 2544  # of a detector of 35 x 43 cm
BAR = 300.0  # milliseconds, 95th percentile
FINDINGS = ("pleural effusion", "pneumothorax", "cardiomegaly")
NETWORK = {"image_encoder": "resnet50", "image_weights": "", "text_encoder": "bert/4x256", "frozen_layers": 0}
SIZE, SHARD = 224, 256
PERCENTILES = (50, 95, 99)
MOST_GROWTH = 256 << 20  # bytes
NOISE = 6.0  # standard deviation, of 4096 levels
WARM = 5  # requests that are not counted
TICKS = os.sysconf("SC_CLK_TCK")
STEP = re.compile(r"([\w-]+);dur=([\d.]+)")
OCTETS = {"content-type": "application/octet-stream"}


@dataclass
class Measured:
    """Milliseconds of every request by step, and the server's processor seconds in all."""

    steps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    processor_seconds: float = 0.0

    def note(self, header: str) -> None:
        """Add the steps that an answer names."""
        for name, taken in STEP.findall(header):
            self.steps[name].append(float(taken))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the percentiles; the exit status is 1 where the bar is broken."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = _write_film(folder / "film.dcm", options.image, options.syntax).read_bytes()
        with _serving(_write_run(folder / "run")) as (server, port):
            if options.damaged:
                return _send_damaged(port, server, options.damaged, options.seed, folder)
            measured = _measure(port, server, film, options.requests, WAYS[options.way])
    print(f"{options.requests} requests, {options.way}, {options.syntax}, {len(film) / 1e6:.1f} MB, load {_load()}")
    for step, taken in measured.steps.items():
        print(f"{step:<16}" + "".join(f"  p{p} {np.percentile(taken, p):7.1f} ms" for p in PERCENTILES))
    print(f"processor time  {1000 * measured.processor_seconds / options.requests:.0f} ms per request")
    reached = float(np.percentile(measured.steps["total"], 95))
    print(f"95 % are answered within {reached:.0f} ms; the bar is {options.bar:.0f} ms")
    return int(reached > options.bar)


def _measure(port: int, server: int, film: bytes, requests: int, way: Way) -> Measured:
    line = http.client.HTTPConnection(HOST, port, timeout=60)
    for _ in range(WARM):
        way(line, film, Measured())
    measured, before = Measured(), _processor_seconds(server)
    for _ in tqdm(range(requests), unit="request", disable=None):
        start = time.perf_counter()
        way(line, film, measured)
        measured.steps["total"].append(1000 * (time.perf_counter() - start))
    measured.processor_seconds = _processor_seconds(server) - before
    line.close()
    return measured


def _send_damaged(port: int, server: int, files: int, seed: int, folder: Path) -> int:
    """Print what became of damaged files; returns 1 where a bound was broken."""
    whole = [specimen.content for specimen in specimens(folder)]
    line = http.client.HTTPConnection(HOST, port, timeout=300)
    found: Counter[str] = Counter()
    before = largest = _resident(server)
    for number in tqdm(range(files), unit="file", disable=None):
        line.request("POST", "/predict?findings=edema", mutate(whole, seed, number), OCTETS)
        answer = line.getresponse()
        content = json.loads(answer.read())
        found[f"{answer.status} {content.get('reason', '')}".strip()] += 1
        if answer.status != 200 and "\n" in content["problem"]:
            sys.exit(f"file {number} is answered with more than a sentence: {content['problem']}")
        largest = max(largest, _resident(server))
    for what, count in found.most_common():
        print(f"{count:7d} {what}")
    print(f"server and decoders together: {before >> 20} MiB before, at most {largest >> 20} MiB")
    wrong = {what for what in found if what[:3] not in ("200", "422")}
    return int(bool(wrong) or largest - before > MOST_GROWTH)


def _resident(server: int) -> int:
    lines = [line for pid in _processes(server) for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


def _ask(
    line: http.client.HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str], measured: Measured
) -> bytes:
    line.request(method, path, body, headers)
    answer = line.getresponse()
    content = answer.read()
    if answer.status >= 300:
        sys.exit(f"{method} {path} was answered with {answer.status}: {content[:200]!r}")
    measured.note(answer.headers.get("server-timing", ""))
    return content


def _predict(line: http.client.HTTPConnection, film: bytes, measured: Measured) -> None:
    query = urlencode([("findings", finding) for finding in FINDINGS])
    _ask(line, "POST", f"/predict?{query}", film, OCTETS, measured)


def _page(line: http.client.HTTPConnection, film: bytes, measured: Measured) -> None:
    held = json.loads(_ask(line, "POST", "/images", film, OCTETS, measured))["image"]
    _ask(line, "GET", f"/images/{held}/pixels", b"", {}, measured)
    question = json.dumps({"image": held, "findings": FINDINGS, "maps": True}).encode()
    _ask(line, "POST", "/predict", question, {"content-type": "application/json"}, measured)
    _ask(line, "DELETE", f"/images/{held}", b"", {}, measured)


Way = Callable[[http.client.HTTPConnection, bytes, Measured], None]
WAYS: dict[str, Way] = {"predict": _predict, "page": _page}


@contextmanager
def _serving(run: Path) -> Iterator[tuple[int, int]]:
    """The process and the port of a server."""
    command = [sys.executable, "-m", "radalign", "serve", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(rf"http://{HOST}:(\d+)", server.stdout.readline())
            if not found:
                sys.exit("The server does not start.")
            yield server.pid, int(found[1])
        finally:
            server.send_signal(signal.SIGINT)


def _processor_seconds(server: int) -> float:
    """Of a process and of those that it started, user and system."""
    lines = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in _processes(server)]
    return sum(int(line[11]) + int(line[12]) for line in lines) / TICKS


def _processes(server: int) -> set[int]:
    tasks = Path(f"/proc/{server}/task").iterdir()
    return {server, *(int(pid) for task in tasks for pid in (task / "children").read_text().split())}


def _write_run(folder: Path) -> Path:
    folder.mkdir()
    torch.manual_seed(0)
    card = ModelCard("convirt", NETWORK, [], SIZE, shard_size=SHARD)
    save_file({name: tensor.contiguous() for name, tensor in card.build().state_dict().items()}, folder / WEIGHTS)
    card.save(folder)
    return folder


WEIGHTS = "weights.safetensors"


def _write_film(path: Path, image: str, syntax: str) -> Path:
    if not image:
        return write_dicom(path, draw_image(ROWS, COLUMNS, seed=0), syntax)
    grey = cv2.resize(read_grey(Path(image)), (COLUMNS, ROWS), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    levels = 400 + grey * 12.5 + np.random.default_rng(0).normal(0, NOISE, grey.shape)
    return write_dicom(path, np.clip(levels, 0, 4095).astype(np.uint16), syntax)


def _load() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--way", choices=WAYS, default="predict")
    parser.add_argument("--syntax", choices=COMPRESSIONS, default="explicit", help="of the DICOM file")
    parser.add_argument("--image", default="", help="a film to enlarge; default: a drawn one")
    parser.add_argument("--damaged", type=int, default=0, metavar="N", help="send N damaged files instead")
    parser.add_argument("--seed", type=int, default=0, help="of the damaged files")
    parser.add_argument("--bar", type=float, default=BAR, help="milliseconds")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
