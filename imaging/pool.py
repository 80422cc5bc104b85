"""Decoding in worker processes, so that a bad file cannot end the run.

A worker that crashes, hangs or needs too much memory loses only its file. The file is rejected with `decoder_died`,
`decoder_timeout` or `too_much_memory`, and a new worker takes over.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np

from imaging.decode import DecodedImage, SquareOptions
from imaging.dicom.attributes import ImageHeader
from imaging.errors import ImageError

CHECKOUT = Path(__file__).resolve().parents[1]
WORKER = ("-m", "imaging.worker")
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


class DecoderPool:
    """At most `workers` processes that decode, by default one per usable core. Each is started when it is first needed.

    It is a context manager. Use one pool for many batches: to start a process takes as long as to decode thirty images.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or usable_cores()
        self._idle: LifoQueue[_Worker] = LifoQueue()  # the last one that worked is running; others may not be started
        for _ in range(self.workers):
            self._idle.put(_Worker())

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, *_: object) -> None:
        while not self._idle.empty():
            self._idle.get().stop()

    def decode(self, path: Path, options: SquareOptions) -> DecodedImage | ImageError:
        """Decode a file, or say why it cannot be decoded. Waits for an idle worker, so call it from several threads.

        Raises RuntimeError when no decoder process can be started.
        """
        worker = self._idle.get()
        try:
            return worker.decode(path, options)
        finally:
            self._idle.put(worker)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


class _Worker:
    """One decoder process. A new one takes its place when it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, path: Path, options: SquareOptions) -> DecodedImage | ImageError:
        process = self._process = self._process or _start()
        assert process.stdin is not None
        assert process.stdout is not None
        request = {"path": os.path.abspath(path), "options": asdict(options)}
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if "reason" in answer:
                return ImageError(answer["reason"], answer["detail"])
            return _build_image(answer, process.stdout.read(options.size**2), options.size)
        except (OSError, ValueError):  # the pipe broke, or the answer ends early
            self.stop()
            timed_out = process.returncode == -signal.SIGALRM
            return ImageError("decoder_timeout" if timed_out else "decoder_died")

    def stop(self) -> None:
        if self._process is not None:
            with self._process as process:  # closes its pipes and waits for it
                process.kill()
            self._process = None


def _start() -> subprocess.Popen[bytes]:
    """Start a decoder process and wait until it is ready. Errors of the start are on its stderr."""
    command = [sys.executable, *WORKER]
    environment = {**os.environ, **ONE_THREAD}
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    if not process.stdout.readline():
        process.wait()
        raise RuntimeError("No decoder process could be started: run `python -m imaging.worker` to see why.")
    return process


def _build_image(answer: dict[str, Any], pixels: bytes, size: int) -> DecodedImage:
    header = ImageHeader(answer["kept"], frozenset(answer["dropped"]), answer["burned_in"])
    square = np.frombuffer(pixels, np.uint8).reshape(size, size)
    return DecodedImage(square, answer["height"], answer["width"], header)
