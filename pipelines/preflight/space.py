"""The disk has room for what a run will write."""

from __future__ import annotations

from ingestion.workspace import Workspace
from store.home import expect_room

BASE = 50e6  # bytes of tables, results and logs of the smallest run
TRAINING = 400e6  # bytes of the checkpoints of a small network; a large one is checked when it is built
STUDY_TEXT = 4_000  # bytes that a study's report takes in all tables


def expect_room_for_run(workspace: Workspace, studies: int, size: int, trains: bool) -> None:
    """Raise UserError where the disk of the home has less room than a run surely takes.

    `studies` is how many are simulated, `size` the side of the images in pixels. Of another archive the number is known
    when it is listed: `assets.batched` looks again. What is in the home already counts as written.
    """
    written = (workspace.folder("shards") / "manifest.json").exists()
    simulated = 0 if written else studies * (224 * 224 + 2 * size * size + STUDY_TEXT)
    expect_room(workspace.home_path(), BASE + simulated + (TRAINING if trains else 0), "this run")
