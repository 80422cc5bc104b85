"""`python -m cohorts.phantom --layout rsna_pneumonia --root DIR --studies 40`: a simulated dataset in a folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_names, layout_writer
from cohorts.phantom.simulated import simulate_studies


def main(arguments: Sequence[str] | None = None) -> None:
    """Write what the command line asks for into a folder that is empty or not there yet."""
    defaults = PhantomConfig()
    parser = argparse.ArgumentParser(prog="python -m cohorts.phantom", description=__doc__)
    parser.add_argument("--layout", required=True, choices=layout_names(), help="the dataset to look like")
    parser.add_argument("--root", required=True, type=Path, help="an empty folder, or one to be made")
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--height", type=int, default=defaults.height, help="rows of a simulated image")
    options = parser.parse_args(arguments)
    if options.root.exists() and (not options.root.is_dir() or any(options.root.iterdir())):
        parser.error(f"--root {options.root} is there and not an empty folder; choose another one.")
    try:
        config = PhantomConfig(studies=options.studies, seed=options.seed, height=options.height)
    except ValueError as error:
        parser.error(str(error))
    try:
        layout_writer(options.layout)(options.root, simulate_studies(config, config.studies))
    except OSError as error:
        parser.error(f"--root {options.root} cannot be written: {error.strerror}; choose another folder.")
    print(f"{config.studies} simulated studies in the layout of {options.layout} are in {options.root}.")


if __name__ == "__main__":
    main()
