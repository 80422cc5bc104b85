"""A small home: a simulated archive, its shards, and a network that was trained on them for a few steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import radalign
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from ingestion.pipeline import IngestionSettings, update
from ingestion.stages.images import ImagesSettings
from ingestion.workspace import Workspace

SIZE = 64
NETWORK = {"image_encoder": "resnet18", "text_encoder": "bert/2x128", "image_weights": "", "dimension": 32}


@dataclass(frozen=True)
class Home:
    """The home, the model trained in it, and the archive of a downstream dataset."""

    workspace: Workspace
    model: radalign.Model
    rsna: Path


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Home:
    folder = tmp_path_factory.mktemp("home")
    workspace = Workspace(home=str(folder), cohort="phantom")
    archive = PhantomConfig(studies=60, height=96)
    update(workspace, IngestionSettings(archive=archive, images=ImagesSettings(size=SIZE)), progress=False)
    model = radalign.pretrain(
        "convirt",
        workspace.folder("shards"),
        folder / "run",
        input_size=SIZE,
        max_steps=3,
        batch_size=8,
        threads=1,
        method_config={**NETWORK, "frozen_layers": 0},
    )
    rsna = tmp_path_factory.mktemp("archives") / "rsna"
    layout_writer("rsna_pneumonia")(rsna, simulate_studies(PhantomConfig(studies=40, seed=7), 40))
    return Home(workspace, model, rsna)
