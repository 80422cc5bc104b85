"""The home can be written to, and the disk has room for what a run will write."""

from __future__ import annotations

import shutil
from pathlib import Path

from ingestion.workspace import Workspace
from store.batches import read_plan
from store.errors import UserError
from store.home import existing_part, is_writable

GIGA = 1e9
BASE = 50e6  # bytes of tables, results and logs of the smallest run
TRAINING = 400e6  # bytes of the checkpoints of a small network; a large one is checked when it is built
STUDY_TEXT = 4_000  # bytes that a study's report takes in all tables


def expect_writable(home: Path) -> None:
    """Raise UserError where no file can be made in the home."""
    there = existing_part(home)
    if not there.is_dir():
        raise UserError(f"The home {home} cannot be made, because {there} is a file: set RADALIGN_HOME to a folder.")
    if not is_writable(there):
        raise UserError(f"The home {home} cannot be written to: set RADALIGN_HOME to a folder of your own.")


def expect_room(workspace: Workspace, studies: int, size: int, trains: bool) -> None:
    """Raise UserError where the disk of the home has less room than a run surely takes.

    `studies` is how many are simulated, `size` the side of the images in pixels. What is in the home already counts as
    written.
    """
    home = workspace.home_path()
    rows = _images_to_write(workspace, studies)
    simulated = studies * 224 * 224 if studies and not workspace.folder("archive").exists() else 0
    needed = BASE + simulated + rows * (2 * size * size + STUDY_TEXT) + (TRAINING if trains else 0)
    free = shutil.disk_usage(existing_part(home)).free
    if free < needed:
        raise UserError(
            f"The disk of the home {home} has {free / GIGA:.1f} GB free, and this run takes {needed / GIGA:.1f} GB or "
            "more: make room, or set RADALIGN_HOME to another disk."
        )


def _images_to_write(workspace: Workspace, studies: int) -> int:
    """How many images are yet to be decoded, as far as it is known: nobody has listed a new archive."""
    if read_plan(workspace.folder("shards")).batches:
        return 0
    return studies
