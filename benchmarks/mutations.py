"""`python -m benchmarks.mutations --files 10000 --seed 0`: damaged files of every kind through the bounded decoders.

Each file is a whole DICOM, JPG or PNG that was changed at a few places: bits, lengths, tags, sizes, fragments. It is
decoded as ingestion does it. The run fails when a file takes longer than the deadline, a process takes more memory
than its bound, an image comes out in another form than asked for, or a file ends as neither image nor reject. The file
number N of a seed S is always the same: `--only N` decodes it alone.
"""

from __future__ import annotations

import argparse
import random
import resource
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image
from pydicom.data import get_testdata_file
from tqdm import tqdm

from benchmarks.images import COMPRESSIONS, draw_image, write_dicom
from imaging.decode import DecodedImage, SquareOptions
from imaging.errors import ImageError
from imaging.limits import BYTES_PER_WORKER, SECONDS_PER_FILE
from imaging.pool import DecoderPool, usable_cores

SIZE = 32
SLACK_SECONDS = 3.0  # for another process to start, on a machine that does other things too
BUNDLED = (  # with pydicom: colour, palette, several frames, sequences, other makers' files
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_palette.dcm",
    "JPGExtended.dcm",
    "693_J2KI.dcm",
    "image_dfl.dcm",
    "CT_small.dcm",
)
HEADER = 1500  # bytes; the tags of a DICOM, the markers of a JPG and the chunks of a PNG are among them
LENGTHS = (0, 1, 2, 0xFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
SIZE_TAGS = tuple(struct.pack("<HH2sH", 0x28, element, b"US", 2) for element in (0x10, 0x11, 0x02, 0x100, 0x101, 0x102))
STREAM_MARKERS = (b"\xff\xc0", b"\xff\xc1", b"\xff\xc3", b"\xff\xf7", b"\xff\x51", b"\xff\x52", b"\xff\xda", b"IHDR")
ITEM = b"\xfe\xff\x00\xe0"
NEST = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + ITEM + b"\xff\xff\xff\xff"  # sequence in sequence, never closed

Mutation = Callable[[bytearray, random.Random, list[bytes]], None]


@dataclass
class Outcome:
    """What became of the files."""

    reasons: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    failures: list[str] = field(default_factory=list)
    peak_bytes: int = 0


def specimens(folder: Path) -> list[bytes]:
    """One whole file of every kind."""
    image = draw_image(96, 80, seed=0)
    files = [write_dicom(folder / kind, image, kind).read_bytes() for kind in COMPRESSIONS]
    for kind, options in (("JPEG", {"quality": 92}), ("JPEG", {"progressive": True}), ("PNG", {})):
        Image.fromarray((image >> 4).astype(np.uint8)).save(folder / kind, kind, **options)
        files.append((folder / kind).read_bytes())
    files += [Path(str(get_testdata_file(name, download=False))).read_bytes() for name in BUNDLED]
    return files


def mutate(files: list[bytes], seed: int, number: int) -> bytes:
    """File `number` of a seed."""
    rng = random.Random(f"{seed}:{number}")
    content = bytearray(files[number % len(files)])
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(MUTATIONS)(content, rng, files)
    return bytes(content)


def run(files: int, seed: int, workers: int, on_file: Callable[[], object] = lambda: None) -> Outcome:
    """Decode the files 0 to `files` of a seed."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as name, DecoderPool(workers) as pool, ThreadPoolExecutor(workers) as threads:
        folder = Path(name)
        whole = specimens(folder)

        def decode(number: int) -> tuple[DecodedImage | ImageError, float]:
            path = folder / f"{number}.dcm"
            path.write_bytes(mutate(whole, seed, number))
            start = perf_counter()
            result = pool.decode(path, SquareOptions(SIZE))
            seconds = perf_counter() - start
            path.unlink()
            return result, seconds

        for number, (result, seconds) in enumerate(threads.map(decode, range(files))):
            _note(outcome, number, result, seconds)
            on_file()
    # Of the children of this process. Linux counts in what this process took itself when it started them.
    outcome.peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    if outcome.peak_bytes > BYTES_PER_WORKER:
        outcome.failures.append(f"a decoder process took {outcome.peak_bytes >> 20} MiB")
    if outcome.reasons.total() != files:
        outcome.failures.append(f"{files - outcome.reasons.total()} files are neither images nor rejects")
    return outcome


def main(arguments: list[str] | None = None) -> None:
    """Print what became of the files; exit with an error where a bound was broken."""
    options = _parse(arguments)
    if options.only is not None:
        return _decode_one(options.seed, options.only)
    with tqdm(total=options.files, unit="file", disable=None) as bar:
        outcome = run(options.files, options.seed, options.workers, bar.update)
    print(f"seed {options.seed}, {options.files} files, {options.workers} processes")
    for reason, count in outcome.reasons.most_common():
        print(f"{count:7d} {reason}")
    print(f"slowest: {outcome.slowest[0]:.2f} s, file {outcome.slowest[1]}")
    print(f"most memory of a process: {outcome.peak_bytes >> 20} MiB")
    if outcome.failures:
        sys.exit("\n".join(outcome.failures))


def _note(outcome: Outcome, number: int, result: DecodedImage | ImageError, seconds: float) -> None:
    outcome.slowest = max(outcome.slowest, (seconds, number))
    if seconds > SECONDS_PER_FILE + SLACK_SECONDS:
        outcome.failures.append(f"file {number} took {seconds:.1f} s")
    if isinstance(result, ImageError):
        outcome.reasons[result.reason] += 1
        return
    outcome.reasons["decoded"] += 1
    if result.pixels.shape != (SIZE, SIZE) or result.pixels.dtype != np.uint8:
        outcome.failures.append(f"file {number} came out as {result.pixels.dtype} {result.pixels.shape}")


def _decode_one(seed: int, number: int) -> None:
    with tempfile.TemporaryDirectory() as name, DecoderPool(1) as pool:
        path = Path(name) / "image.dcm"
        path.write_bytes(mutate(specimens(Path(name)), seed, number))
        result = pool.decode(path, SquareOptions(SIZE))
        print(result if isinstance(result, ImageError) else result.header)


def _flip_bits(content: bytearray, rng: random.Random, _: list[bytes]) -> None:
    end = rng.choice((HEADER, len(content)))
    for _i in range(rng.choice((1, 4, 32))):
        content[_position(content, rng, end)] ^= 1 << rng.randrange(8)


def _truncate(content: bytearray, rng: random.Random, _: list[bytes]) -> None:
    del content[_position(content, rng) :]
    content += b"\0" * rng.choice((0, 0, 1))


def _lie_about_a_length(content: bytearray, rng: random.Random, _: list[bytes]) -> None:
    value = (
        struct.pack(rng.choice(("<I", ">I", "<H", ">H")), rng.choice(LENGTHS) & 0xFFFF) if rng.random() < 0.5 else b""
    )
    value = value or struct.pack(rng.choice(("<I", ">I")), rng.choice(LENGTHS))
    at = content.rfind(ITEM) + 4 if rng.random() < 0.2 else _position(content, rng, HEADER)
    content[at : at + len(value)] = value


def _lie_about_the_size(content: bytearray, rng: random.Random, _: list[bytes]) -> None:
    at = content.find(rng.choice(SIZE_TAGS))
    if at >= 0:
        content[at + 8 : at + 10] = struct.pack("<H", rng.choice((0, 1, 3, 7, 255, 8000, 9000, 65535)))


def _damage_the_stream_header(content: bytearray, rng: random.Random, _: list[bytes]) -> None:
    at = content.find(rng.choice(STREAM_MARKERS))
    if at >= 0:
        at += rng.randrange(2, 44)
        value = struct.pack(rng.choice((">H", ">I")), rng.choice((0, 1, 0x7FFF, 0xFFFF)))
        content[at : at + len(value)] = value


def _swap_slices(content: bytearray, rng: random.Random, _: list[bytes]) -> None:
    length = rng.choice((8, 10, 16, 64))
    one, other = (_position(content, rng, HEADER) for _i in range(2))
    content[one : one + length], content[other : other + length] = (
        content[other : other + length],
        content[one : one + length],
    )


def _splice(content: bytearray, rng: random.Random, files: list[bytes]) -> None:
    donor = rng.choice(files)
    start = rng.randrange(len(donor))
    at = _position(content, rng, rng.choice((HEADER, len(content))))
    piece = donor[start : start + rng.choice((16, 200, 5000))]
    content[at : at + rng.choice((0, len(piece)))] = piece


def _overwrite_with_noise(content: bytearray, rng: random.Random, _: list[bytes]) -> None:
    at = _position(content, rng)
    length = rng.choice((4, 32, 400))
    content[at : at + length] = rng.randbytes(length)


def _remove(content: bytearray, rng: random.Random, _: list[bytes]) -> None:
    at = _position(content, rng, rng.choice((HEADER, len(content))))
    del content[at : at + rng.choice((1, 2, 8, 100))]


def _nest_deeply(content: bytearray, rng: random.Random, _: list[bytes]) -> None:
    at = content.find(b"\x28\x00\x02\x00")
    if at >= 0:
        content[at:at] = NEST * rng.choice((3, 200, 20_000))


def _replace_the_syntax(content: bytearray, rng: random.Random, _: list[bytes]) -> None:
    at = content.find(b"1.2.840.10008.1.2")
    if at >= 0:
        length = content[at - 2]
        other = rng.choice(list(COMPRESSIONS.values())).syntax.encode()
        content[at : at + length] = other[:length].ljust(length, b"\0")


MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits,
    _truncate,
    _lie_about_a_length,
    _lie_about_the_size,
    _damage_the_stream_header,
    _swap_slices,
    _splice,
    _overwrite_with_noise,
    _remove,
    _nest_deeply,
    _replace_the_syntax,
)


def _position(content: bytearray, rng: random.Random, end: int = sys.maxsize) -> int:
    """A place in the content, which is made one byte long if it is empty."""
    if not content:
        content.append(0)
    return rng.randrange(max(1, min(end, len(content))))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutations", description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--only", type=int, metavar="N", help="decode file N alone and say what became of it")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
