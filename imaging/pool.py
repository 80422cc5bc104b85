"""Decoding in worker processes, so that a bad file cannot end the run and a bad machine costs no image.

A worker that crashes, or needs too much memory or processor time, loses only its file, if a new worker fares no better:
the file is rejected with `decoder_died`, `too_much_memory` or `decoder_timeout`. What no file can do, such as ending a
process from outside or making it sleep for ever, is tried again and then raised as MachineError. It is no reject.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np

from imaging.decode import DecodedImage, MaskOptions, SquareOptions
from imaging.dicom.attributes import ImageHeader
from imaging.errors import ImageError, MachineError
from imaging.limits import SECONDS_TO_ANSWER

CHECKOUT = Path(__file__).resolve().parents[1]
WORKER = ("-m", "imaging.worker")
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
OF_A_WORKER = {"decoder_died", "decoder_timeout", "too_much_memory"}  # may be due to its state: a new one is asked
CRASHES = {signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS}
OUTAGES = 3  # of the machine, one after the other at the same file, that end the run
PAUSE_SECONDS = 1.0  # after an outage
SECONDS_TO_END = 5.0  # for a process that was killed or closed its pipes
AGAIN = "then run the same command again; it goes on."
CHUNK = 1 << 20  # bytes


class DecoderPool:
    """At most `workers` processes that decode, by default one per usable core. Each is started when it is first needed.

    It is a context manager. Use one pool for many batches: to start a process takes as long as to decode thirty images.
    Its methods wait for an idle worker, so call them from several threads. They raise MachineError where the machine
    fails.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or usable_cores()
        self._all = [_Worker() for _ in range(self.workers)]
        self._idle: LifoQueue[_Worker] = LifoQueue()  # the last one that worked is running; others may not be started
        for worker in self._all:
            self._idle.put(worker)

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, *_: object) -> None:
        while not self._idle.empty():
            self._idle.get().stop()

    def decode(self, path: Path, options: SquareOptions) -> DecodedImage | ImageError:
        """Decode a file, or say why it cannot be decoded."""
        found = self._ask(path, square=asdict(options))
        return found if isinstance(found, ImageError) else _build_image(*found, options.size)

    def decode_several(self, path: Path, several: Sequence[SquareOptions]) -> list[DecodedImage] | ImageError:
        """Several squares of one file, whose pixels are decoded once where they can be."""
        found = self._ask(path, squares=[asdict(options) for options in several])
        if isinstance(found, ImageError):
            return found
        answer, content = found
        images = []
        for options, described in zip(several, answer["images"], strict=True):
            size = described["bytes"]
            images.append(_build_image(described, content[:size], options.size))
            content = content[size:]
        return images

    def decode_mask(self, path: Path, options: MaskOptions) -> np.ndarray | ImageError:
        """Read a mask, (size, size) bool, or say why it cannot be decoded."""
        found = self._ask(path, mask=asdict(options))
        return found if isinstance(found, ImageError) else _square(found[1], options.size) > 0

    @property
    def starts(self) -> int:
        """How many processes were started so far; a sound archive needs one per worker."""
        return sum(worker.starts for worker in self._all)

    def processes(self) -> list[int]:
        """Ids of the processes that are running."""
        return [worker.process.id for worker in self._all if worker.process]

    def _ask(self, path: Path, **task: Any) -> tuple[dict[str, Any], bytes] | ImageError:
        worker = self._idle.get()
        try:
            return worker.decode(Path(os.path.abspath(path)), task)
        finally:
            self._idle.put(worker)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


class _Worker:
    """One decoder process. A new one takes its place when it fails."""

    def __init__(self) -> None:
        self.process: _Process | None = None
        self.starts = 0

    def decode(self, path: Path, task: dict[str, Any]) -> tuple[dict[str, Any], bytes] | ImageError:
        """Answer to a task and its bytes, or why there is none; MachineError after several outages."""
        outages, is_second = 0, False
        while True:
            try:
                found = self._try(path, task)
            except MachineError:
                outages += 1
                if outages == OUTAGES:
                    raise
                time.sleep(PAUSE_SECONDS)
                continue
            if isinstance(found, ImageError) and found.reason in OF_A_WORKER:
                self.stop()
            if is_second or self.process or not isinstance(found, ImageError):
                return found
            is_second = True

    def _try(self, path: Path, task: dict[str, Any]) -> tuple[dict[str, Any], bytes] | ImageError:
        process = self.process = self.process or self._start()
        try:
            process.send({"path": str(path), **task})
            answer, content = process.receive()
        except TimeoutError:
            self.stop()
            raise MachineError(
                f"A decoder process did not answer for {SECONDS_TO_ANSWER:.0f} s while it read {path}, without working "
                f"on it: check the disk, or whether the process was stopped, {AGAIN}"
            ) from None
        except (OSError, ValueError):  # the pipe broke, or the answer ends early
            self.process = None
            return _judge(process.end(), path)
        if "outage" in answer:
            raise MachineError(answer["outage"])
        if "reason" not in answer:
            return answer, content
        if answer["worn"] or answer["starved"]:
            self.stop()
        if answer["starved"]:
            raise MachineError(f"There is too little memory to decode {path}: free some, {AGAIN}")
        return ImageError(answer["reason"], answer["detail"])

    def _start(self) -> _Process:
        self.starts += 1
        return _Process()

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self.process = self.process, None
        if process:
            process.stop()


class _Process:
    """A running decoder process and the pipes to it. MachineError where it cannot be started."""

    def __init__(self) -> None:
        command = [sys.executable, *WORKER]
        environment = {**os.environ, **ONE_THREAD}
        pipe = subprocess.PIPE
        try:  # in a process group of its own, so that Ctrl-C in a terminal does not reach it
            self._popen = subprocess.Popen(
                command, bufsize=0, cwd=CHECKOUT, env=environment, stdin=pipe, stdout=pipe, process_group=0
            )
        except OSError as error:
            raise MachineError(f"No decoder process could be started ({error.strerror}): mend that, {AGAIN}") from error
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._requests, self._answers = self._popen.stdin, self._popen.stdout
        self.id = self._popen.pid
        self._ready = select.poll()
        self._ready.register(self._answers, select.POLLIN)
        try:
            self.receive()
        except (OSError, ValueError):  # what went wrong is on its stderr
            self.stop()
            raise MachineError(
                f"No decoder process could be started: run `python -m imaging.worker` to see why, {AGAIN}"
            ) from None

    def send(self, request: dict[str, Any]) -> None:
        self._requests.write(json.dumps(request).encode() + b"\n")

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """The next answer and its bytes. Raises TimeoutError, and OSError or ValueError where it ends early."""
        deadline = time.monotonic() + SECONDS_TO_ANSWER
        received = bytearray()
        while b"\n" not in received:
            received += self._read(deadline)
        line, _, content = received.partition(b"\n")
        answer = json.loads(line)
        while len(content) < answer.get("bytes", 0):
            content += self._read(deadline)
        return answer, bytes(content)

    def stop(self) -> None:
        """Kill the process."""
        self._popen.kill()
        self.end()

    def end(self) -> int | None:
        """Close the pipes, which ends a process that lives, and return its exit status; None where it hangs."""
        self._requests.close()
        self._answers.close()
        try:
            return self._popen.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:  # it is stopped, or waits for a disk
            self._popen.kill()
            return None

    def _read(self, deadline: float) -> bytes:
        if not self._ready.poll(1000 * max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        content = os.read(self._answers.fileno(), CHUNK)
        if not content:
            raise BrokenPipeError
        return content


def _judge(status: int | None, path: Path) -> ImageError:
    """Why a process ended at a file; MachineError where the file is not to blame."""
    if status == -signal.SIGPROF:
        return ImageError("decoder_timeout")
    if status is not None and (status >= 0 or -status in CRASHES or (status == -signal.SIGBUS and _is_whole(path))):
        return ImageError("decoder_died")
    ended = f"was ended by {_name_signal(-status)}" if status else "hangs"
    raise MachineError(
        f"A decoder process {ended} while it read {path}: see whether the machine is out of memory or its disk fails, "
        f"{AGAIN}"
    )


def _name_signal(number: int) -> str:
    return signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"


def _is_whole(path: Path) -> bool:
    """Whether every byte of a file can be read. If so, an access beyond its end (SIGBUS) was the decoder's fault; if
    not, the mapped file became shorter meanwhile, or its disk failed."""
    try:
        with open(path, "rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            return sum(map(len, iter(lambda: stream.read(CHUNK), b""))) == size
    except OSError:
        return False


def _build_image(answer: dict[str, Any], content: bytes, size: int) -> DecodedImage:
    header = ImageHeader(answer["kept"], frozenset(answer["dropped"]), answer["burned_in"])
    pixels = _square(content, size)
    return DecodedImage(pixels, answer["height"], answer["width"], header, answer["display_fallback"])


def _square(content: bytes, size: int) -> np.ndarray:
    return np.frombuffer(content, np.uint8).reshape(size, size)
