"""Whole runs of several configurations in the same processes, one after the other; started by `test_commands`."""

import sys
from pathlib import Path

from training.config import TrainingConfig
from training.loop import train
from training.parallel.processes import process_group

if __name__ == "__main__":
    with process_group():
        for path in sys.argv[1:]:
            train(TrainingConfig.load(Path(path)))
