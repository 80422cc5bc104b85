"""A released file is recognised as one format, by its names alone, and anything else is refused in one sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.errors import ModelError
from models.registry import released_names
from models.released.files.containers import read_content
from models.released.opening import convert_file, fill, find_format, recognise
from tests.models.released.fixtures import ROOT, Fixture, find_fixtures, some_file

NAMES = {"biovilt": "biovil_t", "cxrclip": "cxr_clip"}  # of fixtures, where their format is called otherwise
RECIPE = "recipe.json"
FIXTURES = find_fixtures("")


@dataclass(frozen=True)
class Shapes(Fixture):
    """A fixture whose recipe is followed without any numbers."""

    def groups(self) -> dict[str, dict[str, Tensor]]:
        """Tensors of the recipe, by group, without values."""
        recipe = json.loads((self.folder / RECIPE).read_text())
        return {
            group: {
                key: torch.empty(about["shape"], dtype=getattr(torch, about["dtype"])) for key, about in tensors.items()
            }
            for group, tensors in recipe["tensors"].items()
        }


@pytest.fixture(params=FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def content(request, tmp_path):
    """What a fixture's file holds, and the name of its format."""
    if request.param is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    start = request.param.name.partition("_")[0]
    shapes = Shapes(request.param.folder)
    made = (shapes.folder / RECIPE).exists()
    held = shapes.content() if made else read_content(shapes.file(tmp_path))
    return held, NAMES.get(start, start)


def test_every_file_is_of_its_own_format_alone(content):
    held, name = content
    assert [other for other in released_names() if find_format(other).recognises(held)] == [name]
    assert recognise(held, Path("file")) == name


def test_every_format_says_where_it_is_from():
    if not ROOT.is_dir():
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    starts = {fixture.name.partition("_")[0] for fixture in FIXTURES}
    assert {NAMES.get(start, start) for start in starts} <= set(released_names())
    for name in released_names():
        assert "github.com/" in find_format(name).SOURCE
        assert find_format(name).LICENCE.endswith(".")


def test_names_that_nobody_knows_are_refused(tmp_path):
    torch.save({"encoder.weight": torch.ones(2)}, tmp_path / "file.pt")
    with pytest.raises(ModelError, match=r"that no format knows; formats are (\w+, )*biovil,"):
        convert_file(tmp_path / "file.pt")
    with pytest.raises(ModelError, match=r"is called `medclop` .did you mean `medclip`"):
        convert_file(tmp_path / "file.pt", "medclop")


def test_a_file_of_another_format_than_named_is_refused(tmp_path):
    fixture = some_file("biovil_")
    with pytest.raises(ModelError, match="is no file of kad: it is one of biovil"):
        convert_file(fixture.file(tmp_path), "kad")


@pytest.mark.parametrize("start", ["biovil_", "chexzero", "cxrclip_r50", "cxrclip_swin", "gloria", "moco", "simclr"])
def test_settings_are_plain_and_make_the_network_again(start, tmp_path):
    fixture = some_file(start)
    texts = next((fixture.folder / name for name in ("text", "bert") if (fixture.folder / name).is_dir()), None)
    name, converted = convert_file(fixture.file(tmp_path), texts=texts)
    kept = json.loads(json.dumps(converted.settings))
    assert kept == converted.settings
    fill(find_format(name).build(kept), converted.state, tmp_path)
