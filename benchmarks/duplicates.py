"""`python -m benchmarks.duplicates DATA`: how far apart the hashes of images are, of different patients and of copies.

DATA holds the collections `nih_three_class` (images of ChestX-ray14, one per patient) and `covid_cxr`, each with a
table of its images and patients; four images are in both, and three more as crops. Prints how close the hashes of
images of different patients are, in how many bits changed copies differ from their images, and what a search costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from time import process_time

import cv2
import numpy as np
import pandas as pd

from imaging.letterbox import letterbox
from shards.duplicates import BITS, LIMIT, find_near_duplicates, has_structure, hash_images

SIZE = 224
TABLES = {"nih_three_class/labels.csv": "patient_id", "covid_cxr/metadata.csv": "group_id"}
TESTED, SEEN = 5000, 40_000  # random hashes, for the time of a search
Change = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Print the distances."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    images, patients = read(parser.parse_args().data)
    hashed, usual = hash_images(images), np.stack([usual_hash(image) for image in images])
    print(f"{len(images)} images, {has_structure(hashed).sum()} with structure")
    others = np.triu(patients[:, None] != patients[None], 1)
    for name, one, other in (
        ("64 bits, as usual", usual, usual),
        (f"{BITS} bits", hashed[:, 0], hashed[:, 0]),
        (f"{BITS} bits, mirrored", hashed[:, 0], hashed[:, 1]),
    ):
        found = np.sort(distances(one, other)[others])
        limit = LIMIT * 8 * one.shape[1] // BITS
        print(
            f"{name}: of {len(found):,} pairs of images of different patients {(found <= limit).sum()} differ in "
            f"at most {limit} bits, the next in {found[found > limit][0]}"
        )
    print(f"{'changed copy':22}{'median':>8}{'95 %':>8}{'99 %':>8}{'most':>8}{'found':>8}")
    for name, change in CHANGES.items():
        copies = hash_images(np.stack([change(image) for image in images]))
        bits = np.unpackbits(hashed[:, 0] ^ copies[:, 0], axis=1).sum(axis=1)
        told = "".join(f"{value:8.0f}" for value in np.percentile(bits, (50, 95, 99, 100)))
        print(f"{name:22}{told}{(bits <= LIMIT).mean():8.1%}")
    drawn = np.random.default_rng(0).integers(0, 256, (SEEN + TESTED, 2, BITS // 8), np.uint8)
    started = process_time()
    find_near_duplicates(drawn[TESTED:], drawn[:TESTED])
    print(f"{TESTED:,} images looked for among {SEEN:,}: {process_time() - started:.1f} CPU s")


def read(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """(n, SIZE, SIZE) uint8 images of known patients, and their patients (n,)."""
    images, patients = [], []
    for table, column in TABLES.items():
        rows = pd.read_csv(data / table, usecols=["file", column]).dropna()
        folder = (data / table).parent
        images += [letterbox(cv2.imread(str(folder / file), cv2.IMREAD_GRAYSCALE), SIZE) for file in rows["file"]]
        patients += [f"{table} {patient}" for patient in rows[column]]
    return np.stack(images), np.array(patients)


def usual_hash(image: np.ndarray) -> np.ndarray:
    """(8,) bytes: the dHash of 8 x 8 bits."""
    grid = cv2.resize(image, (9, 8), interpolation=cv2.INTER_AREA)
    return np.packbits(grid[:, 1:] > grid[:, :-1])


def distances(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, m) bits in which hashes (n, bytes) and (m, bytes) differ."""
    return np.stack([np.unpackbits(one ^ others, axis=1).sum(axis=1) for one in ones])


def jpeg(quality: int) -> Change:
    """Compression."""
    return lambda image: cv2.imdecode(
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE
    )


def grey(change: Change) -> Change:
    """Other grey levels, of everything but the black around the image."""
    return lambda image: np.where(image > 0, change(image.astype(float)).clip(0, 255).round(), 0).astype(np.uint8)


def shift(pixels: int) -> Change:
    """To the right."""
    return lambda image: np.pad(image, ((0, 0), (pixels, 0)))[:, :-pixels]


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """By the mean over areas."""
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


CHANGES: dict[str, Change] = {
    "JPEG of quality 50": jpeg(50),
    "JPEG of quality 20": jpeg(20),
    "brighter by 20": grey(lambda image: image + 20),
    "contrast 0.7": grey(lambda image: image * 0.7),
    "gamma 0.8": grey(lambda image: 255 * (image / 255) ** 0.8),
    "histogram equalised": cv2.equalizeHist,
    "half the resolution": lambda image: resized(image, SIZE // 2),
    "shifted by 1 pixel": shift(1),
    "shifted by 2 pixels": shift(2),
    "2 % of each side lost": lambda image: cv2.resize(image[4:-4, 4:-4], (SIZE, SIZE)),
}

if __name__ == "__main__":
    main()
