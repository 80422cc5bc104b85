"""The method of docs/adding_a_method.md, put into a copy of the checkout, is an asset, a job and rows of the table."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from store.code import ROOT

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "var", ".dagster", "tests", "__pycache__", ".*_cache", ".hypothesis")
RUN = """
ops:
  archive: {config: {studies: 60}}
  pretrained__toy:
    config: {epochs: 1, batch_size: 8, threads: 1, method_config: {width: 16}}
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    """A copy of the checkout with the method of the page, pretrained."""
    copy = tmp_path_factory.mktemp("toy") / "checkout"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    page = (copy / "docs" / "adding_a_method.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(code.splitlines()) <= 65
    (copy / "models" / "methods" / "toy.py").write_text(code)
    (copy / "run.yaml").write_text(RUN)
    settings = {"DAGSTER_CLI_JOB_EXECUTE_MODULE_NAME": "pipelines.definitions", "RADALIGN_HOME": str(copy / "var")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RADALIGN", "DAGSTER"))}
    command = [Path(sys.executable).with_name("dagster"), "job", "execute", "-j", "pretrain_toy", "-c", "run.yaml"]
    done = subprocess.run(command, cwd=copy, env=environment | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return copy


def test_its_job_fills_the_table(toy):
    files = list((toy / "var" / "results").glob("*.parquet"))
    rows = [row for path in files for row in pq.read_table(path).to_pylist() if row["source"] == "measured"]
    methods = {row["method"] for row in rows if row["value"] is not None}
    assert methods == {"toy", "untrained:toy"}
    assert {"zero_shot_classification", "text_image_retrieval", "linear_probe"} <= {row["task"] for row in rows}


def test_the_command_shows_its_settings(toy):
    command = [sys.executable, "-m", "radalign", "methods", "toy"]
    done = subprocess.run(command, cwd=toy, capture_output=True, text=True, check=True)
    assert "Width of the space that images and texts share." in done.stdout


def test_it_trained(toy):
    (result,) = (toy / "var" / "checkpoints" / "toy").glob("*/result.json")
    assert '"steps"' in result.read_text()
