"""`python -m benchmarks.loader [--json]`: batches from shards, against the published way to make them.

In one run and in CPU time of one core (processor time of all threads), by turns, the fastest of a few passes. The
published way is MGCA's data set (cheaper than MedKLIP's and ConVIRT-pytorch's): per sample, OpenCV decodes a grey JPG,
averages areas down to 256 pixels and pads, Pillow makes colours of it and torchvision crops, scales and normalises;
torch's DataLoader stacks 128 of them. It reads JPGs of 2544 x 3056 pixels, or of 256 pixels as if resized before. Ours
are the batches that the training loop takes, with their tokens: shuffled over all shards, pixels of 8 bits until they
are on the device. What a random window of 224 pixels and normalising to float32 add without a GPU is shown beside.

Memory: an epoch of shards larger than what a process may allocate, in a process of its own, and how much more it holds
in the second half than in the first. Waiting: the share of the time that a loop waits whose steps are emulated, as they
sleep for 0.2 s: 256 pairs of ViT-B/16 + BERT-base at 210 TFLOP/s. No GPU's step was measured for it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.images import draw_image
from imaging.augment import Augmentation, AugmentationConfig
from models.method import Method, TextSource
from models.text.tokenizer import tokenizer
from shards.loader import Shuffle, count_buffers, loading
from shards.reader import ShardReader
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from training.data.pairs import PairData, Pairs
from training.monitoring.telemetry import Stopwatch

HEIGHT, WIDTH, SIZE, CROP, BATCH = 3056, 2544, 256, 224, 128
THREADS = 1  # of the loader, as in training
IMAGES, QUALITY = 16, 95
SHARDS, ROWS = 8, 1024
PASSES = 3
BARS = {"full": 100.0, "resized": 15.0}  # how many times the images per CPU-second of the published way
ALLOWED = 256 << 20  # bytes that the process with the limit may allocate beyond what it holds before the epoch
GROWTH = 0.05  # of the shards' size, that the second half of an epoch may take more than the first
STEP = 0.2  # seconds of an emulated step
WAITING = 0.03  # largest share of the time
SENTENCES = ("There is a small left pleural effusion.", "The heart is normal in size.", "No pneumothorax is seen.")


class Published(Dataset[torch.Tensor]):
    """MGCA's per-sample data set, its images alone."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.transform = transforms.Compose(
            [transforms.RandomCrop(CROP), transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        grey = cv2.imread(str(self.paths[index]), cv2.IMREAD_GRAYSCALE)
        assert grey is not None
        scale = SIZE / max(grey.shape)
        height, width = (round(side * scale) for side in grey.shape)
        top, left = (SIZE - height) // 2, (SIZE - width) // 2
        small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        square = np.pad(small, ((top, SIZE - height - top), (left, SIZE - width - left)))
        tensor: torch.Tensor = self.transform(Image.fromarray(square).convert("RGB"))
        return tensor


def write_jpgs(folder: Path, resized: bool) -> list[Path]:
    """A few images at full size, or made small enough to be letterboxed without resizing."""
    paths = []
    for seed in range(IMAGES):
        image: np.ndarray = (draw_image(HEIGHT, WIDTH, seed) >> 4).astype(np.uint8)
        if resized:
            image = cv2.resize(image, (round(WIDTH * SIZE / HEIGHT), SIZE), interpolation=cv2.INTER_AREA)
        paths.append(folder / f"{'resized' if resized else 'full'}-{seed}.jpg")
        cv2.imwrite(str(paths[-1]), image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return paths


def write_shards(folder: Path, shards: int, rows: int) -> Path:
    """Shards of noise, with reports of a few sentences."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(shards):
        pixels = rng.integers(0, 256, (rows, SIZE * SIZE), np.uint8)
        sentences = [
            [{"section": "findings", "text": text} for text in rng.permutation(SENTENCES)] for _ in range(rows)
        ]
        names = [f"{number}-{row}" for row in range(rows)]
        columns = {
            **dict.fromkeys(("image_id", "study_id", "subject_id"), names),
            **{"split": ["train"] * rows, "view": ["PA"] * rows, "height": [HEIGHT] * rows, "width": [WIDTH] * rows},
            **{"pixels": [image.tobytes() for image in pixels], "text": [""] * rows, "sentences": sentences},
            **{"triplets": [[]] * rows, "labels": [None] * rows},
        }
        schema = shard_schema(SIZE)
        paths.append(folder / f"{number}.parquet")
        write_shard(pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema), paths[-1])
    write_manifest(folder, paths, ("nodule",), ("lung",), SIZE, "noise")
    return folder


class Ours:
    """Batches as the training loop takes them."""

    def __init__(self, shards: Path, batch_size: int = BATCH) -> None:
        self.method = Method()
        self.method.texts = TextSource(tokenizer("all-MiniLM-L6-v2", 128), ("findings",))
        self.data = PairData(ShardReader(shards), "train", self.method, AugmentationConfig(), shards / "texts.npz")
        self.shuffle = Shuffle(len(self.data), batch_size, seed=0)
        self.room = self.data.room(count_buffers(THREADS), batch_size)
        self.augmentation = Augmentation(AugmentationConfig(window=True), CROP)

    def pairs(self, number: int) -> Pairs:
        """A batch of 8-bit pixels and tokens."""
        return self.data.pairs(
            self.shuffle.batch(number), np.random.default_rng([0, number, 1]), self.room[number % len(self.room)]
        )

    def batches(self, number: int) -> Iterator[Pairs]:
        """The first batches of a run."""
        with loading(self.pairs, threads=THREADS) as loader:
            for _ in range(number):
                yield next(loader)

    def as_floats(self, number: int) -> Iterator[torch.Tensor]:
        """The same, with a random window and normalised without a GPU."""
        for pairs in self.batches(number):
            yield self.method.prepare(self.augmentation(pairs.batch.images, *pairs.flipped))


def images_per_second(batches: Callable[[], Iterator[Any]]) -> float:
    """Of CPU time."""
    start, images = time.process_time(), 0
    for batch in batches():
        images += len(batch.batch if isinstance(batch, Pairs) else batch)
    return images / (time.process_time() - start)


def speeds(folder: Path) -> dict[str, float]:
    """Images per CPU-second of each way, the fastest of some passes by turns."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    ours = Ours(write_shards(folder, SHARDS, ROWS))
    full, resized = (write_jpgs(folder, small) for small in (False, True))
    ways: dict[str, Callable[[], Iterator[Any]]] = {
        "published, full-size JPG": lambda: iter(DataLoader(Published(full * 4), batch_size=BATCH)),
        "published, resized JPG": lambda: iter(DataLoader(Published(resized * 64), batch_size=BATCH, shuffle=True)),
        "ours, 8 bits": lambda: ours.batches(SHARDS * ROWS // BATCH),
        "ours, cropped to float32": lambda: ours.as_floats(2 * SHARDS),
    }
    found = dict.fromkeys(ways, 0.0)
    for _ in range(PASSES):
        for name, way in ways.items():
            found[name] = max(found[name], images_per_second(way))
    return found


def waiting(folder: Path) -> float:
    """Share of the time that a loop of paper-size steps waits for its batches of 256, the first one left out."""
    ours = Ours(folder, 2 * BATCH)
    watch = Stopwatch()
    with loading(ours.pairs, threads=THREADS) as loader:
        for step in range(SHARDS * ROWS // (2 * BATCH)):
            with watch.waiting():
                next(loader)
            if step == 0:
                watch.read()
            time.sleep(STEP)
    seconds, waited = watch.read()
    return waited / seconds


def limited_epoch(folder: Path) -> dict[str, Any]:
    """An epoch in this process, which may not allocate much more than it holds: megabytes, and whether that is true."""
    ours = Ours(folder)
    held = _held("VmData")
    resource.setrlimit(resource.RLIMIT_DATA, (held + ALLOWED, held + ALLOWED))
    sizes = [_held("VmRSS") for _ in ours.batches(SHARDS * ROWS // BATCH)]
    half = len(sizes) // 2
    try:
        ours.data.pixels.read(np.arange(SHARDS * ROWS))
        limited = False
    except MemoryError:
        limited = True
    shards = sum(path.stat().st_size for path in folder.glob("*.parquet"))
    growth = max(sizes[half:]) - max(sizes[:half])
    return {"shards": shards / 1e6, "allowed": ALLOWED / 1e6, "growth": growth / 1e6, "limited": limited}


def _held(name: str) -> int:
    """Bytes of this process's memory, as the kernel counts them under `name`."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10


def main() -> int:
    """Measure all of it; the exit status says whether every bar is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--limited-epoch", type=Path, help=argparse.SUPPRESS)  # what the process of its own is asked
    options = parser.parse_args()
    if options.limited_epoch:
        sys.stdout.write(json.dumps(limited_epoch(options.limited_epoch)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = speeds(folder)
        command = [sys.executable, "-m", "benchmarks.loader", "--limited-epoch", name]
        memory = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ).stdout)
        share = min(waiting(folder) for _ in range(PASSES))  # a busy machine lets any process wait
    ratios = {kind: rates["ours, 8 bits"] / rates[f"published, {label}"] for kind, label in KINDS.items()}
    met = {
        **{f"{kind} JPG": ratios[kind] >= bar for kind, bar in BARS.items()},
        "memory": memory["limited"] and memory["growth"] <= GROWTH * memory["shards"],
        "waiting": share < WAITING,
    }
    figures = {"rates": rates, "ratios": ratios, "memory": memory, "waiting": share, "met": met}
    sys.stdout.write(json.dumps(figures, indent=1) if options.json else as_text(figures))
    return 0 if all(met.values()) else 1


def as_text(figures: dict[str, Any]) -> str:
    """The figures for a reader."""
    memory, missed = figures["memory"], [name for name, met in figures["met"].items() if not met]
    return "\n".join(
        [
            *(f"{way:28}{rate:10,.0f} images per CPU-second" for way, rate in figures["rates"].items()),
            *(
                f"{f'ratio to {kind} JPGs':28}{figures['ratios'][kind]:10.1f} (bar: {bar:.0f})"
                for kind, bar in BARS.items()
            ),
            f"an epoch of {memory['shards']:.0f} MB where {memory['allowed']:.0f} MB may be allocated: the second half "
            f"took {memory['growth']:.1f} MB more than the first",
            f"waiting for data in steps of {STEP} s: {figures['waiting']:.2%} (bar: {WAITING:.0%})",
            f"missed: {', '.join(missed)}" if missed else "all bars are met",
            "",
        ]
    )


KINDS = {"full": "full-size JPG", "resized": "resized JPG"}

if __name__ == "__main__":
    sys.exit(main())
