"""Decoding of files that nobody vouches for, in processes that may die of them.

A decoder that crashes, hangs or asks for too much memory takes only its file with it: the file is refused with
`decoder_died`, `decoder_timeout` or `too_much_memory`, and another process takes over.
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
    """At most `workers` decoder processes, one per usable core by default, each started when first needed.

    Use it as a context manager, and for many batches: starting a process costs as much as decoding thirty images.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or usable_cores()
        self._idle: LifoQueue[_Worker] = LifoQueue()  # the last that worked is running, others perhaps not yet
        for _ in range(self.workers):
            self._idle.put(_Worker())

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, *_: object) -> None:
        while not self._idle.empty():
            self._idle.get().stop()

    def decode(self, path: Path, options: SquareOptions) -> DecodedImage | ImageError:
        """An image, or the reason why there is none; waits for an idle process, so call it from several threads.

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
    """One decoder process, and the next one after it has died."""

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
            return _image(answer, process.stdout.read(options.size**2), options.size)
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
    """A decoder process that is ready; what kept it from starting is on its stderr."""
    command = [sys.executable, *WORKER]
    environment = {**os.environ, **ONE_THREAD}
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    if not process.stdout.readline():
        process.wait()
        raise RuntimeError("No decoder process could be started: run `python -m imaging.worker` to see why.")
    return process


def _image(answer: dict[str, Any], pixels: bytes, size: int) -> DecodedImage:
    header = ImageHeader(answer["kept"], frozenset(answer["dropped"]), answer["burned_in"])
    square = np.frombuffer(pixels, np.uint8).reshape(size, size)
    return DecodedImage(square, answer["height"], answer["width"], header)
