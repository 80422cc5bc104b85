"""A non-editable installation, used outside the checkout: nothing may depend on the files around the packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from store.code import ROOT
from tests.training.conftest import config, shards

__all__ = ["config", "shards"]  # fixtures


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A function that runs Python with the installed packages, from an empty folder."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(site)]
    source = tmp_path_factory.mktemp("source") / "radalign"
    copy_tree(source)
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RADALIGN", "PYTHON"))}

    def run(*arguments):
        settings = {**environment, "PYTHONPATH": str(site), "RADALIGN_HOME": str(folder / "home")}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=folder,
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def copy_tree(target: Path) -> None:
    """The working tree as it is, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())


def test_the_installed_packages_are_used(outside):
    done = outside("-c", "import store.code, radalign; print(store.code.ROOT)")
    assert str(ROOT) not in done.stdout
    assert "site" in done.stdout, done.stderr


def test_methods_and_datasets_are_listed(outside):
    done = outside("-m", "radalign", "methods")
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0] for line in done.stdout.splitlines() if line}
    assert listed >= {"convirt", "medklip", "lrclr", "biovil", "kad"}  # the last two can only be imported
    assert outside("-m", "radalign", "methods", "medklip").returncode == 0
    done = outside("-m", "radalign", "datasets")
    assert "rsna_pneumonia" in done.stdout, done.stderr


def test_training_and_prediction_work(outside, config, tmp_path):
    path = tmp_path / "config.json"
    config.save(path)
    done = outside("-m", "training", path)
    assert done.returncode == 0, done.stderr
    assert "checkpoint_digest" in json.loads((Path(config.output) / "result.json").read_text())
    image = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 40), np.uint8)).save(image)
    done = outside("-m", "radalign", "predict", config.output, image, "--label", "pleural effusion")
    assert done.returncode == 0, done.stderr
    head, row = done.stdout.splitlines()
    assert head == "image\tpleural effusion"
    assert 0 <= float(row.split("\t")[1]) <= 1


def test_a_mistake_is_one_sentence(outside, tmp_path):
    image = tmp_path / "image.png"
    for sentence in ("There is no image file", "is neither the folder of a finished run"):
        done = outside("-m", "radalign", "predict", tmp_path, image, "--label", "edema")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert sentence in done.stderr
        image.write_text("a file, so that the model is looked for")
