"""`python -m imaging.worker`: decodes the files named on stdin, one after the other, within fixed limits.

A request is a line of JSON. A response is a line of JSON and, for an image, its size x size bytes. The kernel enforces
both limits. A decoder that needs more address space than `limits.BYTES_PER_WORKER` fails. After
`limits.SECONDS_PER_FILE` an alarm that nothing handles ends the process, even inside a decoder's loop or after the end
of the parent. Responses are never unpickled.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

import cv2

from imaging.decode import DecodedImage, SquareOptions, read_square
from imaging.errors import ImageError
from imaging.limits import BYTES_PER_WORKER, SECONDS_PER_FILE


def main() -> None:
    """Respond to requests until stdin ends."""
    answers = _take_over(sys.stdout.fileno())
    cv2.setNumThreads(1)
    resource.setrlimit(resource.RLIMIT_AS, (BYTES_PER_WORKER, BYTES_PER_WORKER))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _send(answers, {"ready": True})
    _take_over(sys.stderr.fileno()).close()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, SECONDS_PER_FILE)
        answer, pixels = _respond(Path(request["path"]), SquareOptions(**request["options"]))
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(answers, answer, pixels)


def _respond(path: Path, options: SquareOptions) -> tuple[dict[str, Any], bytes]:
    try:
        image = read_square(path, options)
    except ImageError as error:
        return {"reason": error.reason, "detail": error.detail}, b""
    except MemoryError:
        return {"reason": "too_much_memory", "detail": ""}, b""
    return _describe(image), image.pixels.tobytes()


def _describe(image: DecodedImage) -> dict[str, Any]:
    header = image.header
    return {
        "height": image.height,
        "width": image.width,
        "kept": header.kept,
        "dropped": sorted(header.dropped),
        "burned_in": header.burned_in,
    }


def _take_over(descriptor: int) -> BinaryIO:
    """A private copy of a standard stream. The stream itself then leads nowhere, because C libraries write to it."""
    private = os.dup(descriptor)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
    return os.fdopen(private, "wb")


def _send(answers: BinaryIO, answer: dict[str, Any], pixels: bytes = b"") -> None:
    answers.write(json.dumps(answer).encode() + b"\n" + pixels)
    answers.flush()


if __name__ == "__main__":
    main()
