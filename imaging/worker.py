"""`python -m imaging.worker`: decodes the files named on stdin, one after the other, within fixed limits.

A request is a line of JSON. A response is a line of JSON, and for an image or a mask the size x size bytes that it
announces. Responses are never unpickled. The kernel enforces both limits. A decoder that needs more address space than
`limits.BYTES_PER_WORKER` fails. After `limits.CPU_SECONDS_PER_FILE` of processor time, user and system, an alarm that
nothing handles ends the process, even inside a decoder's loop. Time in which it waits or is stopped does not count.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from imaging.decode import DecodedImage, MaskOptions, SquareOptions, read_film, read_films, read_mask
from imaging.errors import ImageError, MachineError
from imaging.limits import BYTES_PER_WORKER, CPU_SECONDS_PER_FILE

ROOM = BYTES_PER_WORKER // 2  # that an idle process can still take; with less, a failure says little about the file


def main() -> None:
    """Respond to requests until stdin ends."""
    answers = _take_over(sys.stdout.fileno())
    cv2.setNumThreads(1)
    resource.setrlimit(resource.RLIMIT_AS, (BYTES_PER_WORKER, BYTES_PER_WORKER))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # whatever the parent did with it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    _send(answers, {"ready": True})
    _take_over(sys.stderr.fileno()).close()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_PER_FILE)
        answer, pixels = _respond(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(answers, answer, pixels)


def _respond(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        return _decode(Path(request["path"]), request)
    except ImageError as error:
        failure = {"reason": error.reason, "detail": error.detail}
    except MemoryError:
        failure = {"reason": "too_much_memory", "detail": ""}
    except MachineError as error:
        return {"outage": str(error)}, b""
    return {**failure, "worn": not _has_room(), "starved": _has_room() and not _can_take_it()}, b""


def _decode(path: Path, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    if "mask" in request:
        mask = read_mask(path, MaskOptions(**request["mask"]))
        return {"bytes": mask.size}, mask.astype(np.uint8).tobytes()
    if "squares" in request:
        images = read_films(path, [SquareOptions(**options) for options in request["squares"]])
        pixels = b"".join(image.pixels.tobytes() for image in images)
        return {"bytes": len(pixels), "images": [_describe(image) for image in images]}, pixels
    image = read_film(path, SquareOptions(**request["square"]))
    return _describe(image), image.pixels.tobytes()


def _describe(image: DecodedImage) -> dict[str, Any]:
    header = image.header
    return {
        "bytes": image.pixels.size,
        "height": image.height,
        "width": image.width,
        "kept": header.kept,
        "dropped": sorted(header.dropped),
        "burned_in": header.burned_in,
        "display_fallback": image.display_fallback,
    }


def _has_room() -> bool:
    """Whether there is address space left; files before this one may have left some taken."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * mmap.PAGESIZE + ROOM <= BYTES_PER_WORKER


def _can_take_it() -> bool:
    """Whether the machine gives what the limit allows."""
    try:
        mmap.mmap(-1, ROOM, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return False
    return True


def _take_over(descriptor: int) -> BinaryIO:
    """A private copy of a standard stream. The stream itself then leads nowhere, because C libraries write to it."""
    private = os.dup(descriptor)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
    return os.fdopen(private, "wb")


def _send(answers: BinaryIO, answer: dict[str, Any], pixels: bytes = b"") -> None:
    try:
        answers.write(json.dumps(answer).encode() + b"\n" + pixels)
        answers.flush()
    except BrokenPipeError:  # whoever asked was killed
        os._exit(1)


if __name__ == "__main__":
    main()
