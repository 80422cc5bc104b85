"""`python -m benchmarks.capacity --images 50e6`: what the ingestion of an archive takes, before anything is tried.

Prints batches, steps, sizes, memory, processor time and network. The constants are in `constants.yaml` beside this
file: `--measure 1e4` measures them by real runs on archives of tiny images, hard links to a few files, and
`--check 1e5` compares predictions with a real run of another size.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import yaml

from benchmarks.capacity import measuring, prediction

CONSTANTS = Path(__file__).with_name("constants.yaml")
TINY = "tiny"  # what is measured with: decoding costs next to nothing


def main(arguments: list[str] | None = None) -> int:
    """Print a plan, measure or check; returns the exit status."""
    options = _parse(arguments)
    if options.measure:
        found = measuring.measure(int(options.measure), options.folder)
        options.constants.write_text(yaml.safe_dump(found, sort_keys=False))
        sys.stdout.write(f"The constants are in {options.constants}.\n")
        return 0
    constants = yaml.safe_load(options.constants.read_text())
    if options.check:
        rows, peaks = measuring.check(int(options.check), constants, options.folder)
        sys.stdout.write(f"{'':33} {'predicted':>14} {'measured':>14} {'ratio':>6}\n")
        for name, predicted, measured in rows:
            ratio = predicted / measured if measured else float(predicted == measured)
            sys.stdout.write(f"{name:33} {predicted:14,.1f} {measured:14,.1f} {ratio:6.2f}\n")
        for name, peak in peaks.items():
            sys.stdout.write(f"{f'memory in {name}, bytes':33} {'':14} {peak:14,}\n")
        return 0
    archive = prediction.Archive(
        options.images,
        options.size,
        options.images_per_study,
        options.bytes_per_image,
        0.0 if options.format == TINY else constants["decode_ms"][options.format],
        options.cohorts,
        options.cores,
        options.network,
    )
    found = prediction.predict(archive, constants)
    sys.stdout.write("\n".join(prediction.describe(archive, found, constants)) + "\n")
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    formats = (TINY, "explicit", "jpeg_lossless_sv1", "rle", "jpeg_ls", "jpeg_2000", "jpeg_2000 reduced", "jpg")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capacity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--images", type=float, help="images of the archive, such as 50e6")
    what.add_argument("--measure", type=float, metavar="IMAGES", help="measure the constants with so many images")
    what.add_argument("--check", type=float, metavar="IMAGES", help="compare predictions with a real run")
    parser.add_argument("--size", type=int, default=224, help="side of the squares, pixels")
    parser.add_argument("--bytes-per-image", type=float, default=15.5e6, help="of a file of the archive")
    parser.add_argument(
        "--format", choices=formats, default="explicit", help="how files are coded; explicit: not at all"
    )
    parser.add_argument("--images-per-study", type=float, default=measuring.IMAGES_PER_STUDY)
    parser.add_argument("--cohorts", type=int, default=1, help="that the images are divided over evenly")
    parser.add_argument("--cores", type=int, default=16, help="of all workers together")
    parser.add_argument("--network", type=float, default=10.0, help="Gbit/s between archive, home and workers")
    parser.add_argument("--constants", type=Path, default=CONSTANTS, help="file of the constants")
    parser.add_argument("--folder", type=Path, help="where to measure; on the disk that is to be measured")
    options = parser.parse_args(arguments)
    asked = (options.images, options.measure, options.check)
    counts = (*(value for value in asked if value is not None), options.size, options.cohorts, options.cores)
    rates = (options.network, options.images_per_study, options.bytes_per_image)
    if not all(map(math.isfinite, (*counts, *rates))) or min(counts) < 1 or min(rates) <= 0:
        parser.error("counts, sizes and rates must be positive numbers")
    if not options.measure and not options.constants.is_file():
        parser.error(f"--constants names {options.constants}, which is no file")
    if options.measure and options.measure < measuring.LEAST:
        parser.error(f"--measure needs at least {measuring.LEAST} images: a tenth of them has to fill some batches")
    return options


if __name__ == "__main__":
    sys.exit(main())
