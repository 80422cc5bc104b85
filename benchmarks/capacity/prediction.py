"""What an archive of any size takes, by the constants of `constants.yaml`. Everything here is linear in its unit.

Units are images, batches and mapped steps. A step computes a batch or, in a large archive, a group of batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from assets.batched import MOST_STEPS
from ingestion.inventory import InventorySettings
from ingestion.pipeline import STAGES

MEGA, GIGA, HOUR = 1e6, 1e9, 3600.0
FILES_PER_BATCH = 3 * (1 + len(STAGES))  # a table, its rejects and their seal, of the inventory and of each stage
MAPPED = [stage.name for stage in STAGES]
Constants = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """A quantity that grows in proportion to its unit: fixed + each * units."""

    fixed: float
    each: float

    def at(self, units: float) -> float:
        """Its value."""
        return self.fixed + self.each * units

    @classmethod
    def through(cls, first: tuple[float, float], second: tuple[float, float]) -> Line:
        """The line through two measurements (units, value); never falling, and never below 0 at 0."""
        each = max(0.0, (second[1] - first[1]) / (second[0] - first[0]))
        return cls(max(0.0, first[1] - each * first[0]), each)


@dataclass(frozen=True)
class Archive:
    """What is to be ingested, and with what."""

    images: float
    size: int  # side of the squares in pixels
    images_per_study: float
    bytes_per_image: float
    decode_ms: float  # of one core, beyond what a tiny image takes
    cohorts: int = 1  # that the images are divided over evenly; each is ingested by a run of its own
    cores: int = 1
    network: float = 10.0  # Gbit/s between the archive and the hosts, all together

    @property
    def own(self) -> float:
        """Images of one cohort."""
        return self.images / self.cohorts

    @property
    def batches(self) -> int:
        """Batches of one cohort."""
        return ceil(self.own / self.images_per_study / InventorySettings().batch_size)

    @property
    def mapped_steps(self) -> int:
        """Mapped steps of one stage in the first run on one cohort."""
        return ceil(self.batches / ceil(self.batches / MOST_STEPS))


def predict(archive: Archive, constants: Constants) -> dict[str, float]:
    """Figures of one cohort by name: counts, bytes, and seconds of one core."""
    lines = {name: Line(**line) for name, line in constants["lines"].items()}
    steps = archive.mapped_steps * len(MAPPED)
    found = {
        "batches": archive.batches,
        "mapped steps of a stage": archive.mapped_steps,
        "files of batches": archive.batches * FILES_PER_BATCH,
        "plans, bytes": lines["plans"].at(archive.batches),
        "tables, bytes": lines["tables"].at(archive.own),
        "shards, bytes": lines["shards"].at(archive.own) + archive.own * (archive.size**2 - constants["size"] ** 2),
        "decoded images, bytes": archive.own * archive.size**2,
        "event log, rows": lines["events"].at(steps),
        "event log, bytes": lines["event_log"].at(steps),
        "memory of the planner, bytes": max(
            constants["planner"], constants["before_listing"] + lines["listing_memory"].at(archive.own)
        ),
        "memory of a worker, bytes": constants["worker"] + 2 * _batch_bytes(archive),
        "memory of a decoder, bytes": constants["decoder"],
        "second run, s": lines["second_run"].at(archive.own),
    }
    for name, line in sorted(lines.items()):
        if name.startswith("cpu "):
            extra = archive.own * archive.decode_ms / 1000 if name == "cpu images" else 0.0
            found[f"{name}, s"] = line.at(archive.own) + extra
    found["cpu, s"] = sum(value for name, value in found.items() if name.startswith("cpu "))
    return found


def _batch_bytes(archive: Archive) -> float:
    return InventorySettings().batch_size * archive.images_per_study * archive.size**2


def describe(archive: Archive, found: Mapping[str, float], constants: Constants) -> list[str]:
    """The plan for an archive, as lines of a page."""
    cohorts, images = archive.cohorts, archive.images
    read = images * archive.bytes_per_image
    written = cohorts * (found["decoded images, bytes"] + found["shards, bytes"] + found["tables, bytes"])
    hours = cohorts * found["cpu, s"] / HOUR
    transfer = (read + written) / (archive.network * GIGA / 8) / HOUR
    each = " of each cohort" if cohorts > 1 else ""
    lines = [
        f"{images:,.0f} images of {archive.bytes_per_image / MEGA:.3g} MB, {archive.images_per_study} a study, squares "
        f"of {archive.size} pixels, {cohorts} cohort{'s' if cohorts > 1 else ''}",
        "",
        f"batches{each:<26} {found['batches']:>14,.0f}",
        f"mapped steps of a stage{each:<10} {found['mapped steps of a stage']:>14,.0f}   at most {MOST_STEPS}",
        f"files of batches, all{'':<12} {cohorts * found['files of batches']:>14,.0f}",
        *(
            f"{name:<33} {cohorts * found[f'{key}, bytes'] / GIGA:>14,.3f} GB"
            for name, key in (
                ("tables, all", "tables"),
                ("decoded images, all", "decoded images"),
                ("shards, all", "shards"),
                ("plans, all", "plans"),
                ("event log, all", "event log"),
            )
        ),
        f"event log, rows{'':<18} {cohorts * found['event log, rows']:>14,.0f}",
        f"memory of the planner{each:<12} {found['memory of the planner, bytes'] / GIGA:>14,.2f} GB",
        f"memory of a worker{'':<15} {found['memory of a worker, bytes'] / GIGA:>14,.2f} GB   and "
        f"{found['memory of a decoder, bytes'] / GIGA:.2f} GB a core",
        "",
        *(
            f"{name.removesuffix(', s'):<33} {cohorts * value / HOUR:>14,.2f} h of one core"
            for name, value in found.items()
            if name.startswith("cpu ")
        ),
        f"{'all':<33} {hours:>14,.2f} h of one core",
        f"a second run{each:<21} {found['second run, s'] / 60:>14,.1f} min of one core",
        "",
        f"read {read / GIGA:,.0f} GB, written {written / GIGA:,.0f} GB: {transfer:,.2f} h at {archive.network} Gbit/s",
        f"on {archive.cores} cores {max(hours / archive.cores, transfer):,.2f} h, the larger of "
        f"{hours / archive.cores:,.2f} h of work and {transfer:,.2f} h of network",
        "",
        f"Constants: {constants['command']}, {constants['date']}, {constants['machine']}.",
    ]
    return lines
