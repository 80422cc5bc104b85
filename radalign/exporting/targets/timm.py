"""timm: the image encoder, for `timm.create_model` with a file of weights or with the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

from radalign.exporting.preparation import SHORTEST, Preparation
from radalign.exporting.subject import Subject, Written, expect_same
from radalign.exporting.towers import TimmTower, example, pool_maps

WEIGHTS, CONFIG = "model.safetensors", "config.json"
CLASSES = 1000  # of ImageNet
NOTE_MAPS = (
    "The encoder ends with an inner stage: it gives its map, of which the features are the mean over the places."
)


def refuse(subject: Subject) -> None:
    """Raise NotExportableError where timm has no such image encoder."""
    _ = subject.tower


def write(subject: Subject, folder: Path) -> Written:
    """The image encoder, opened again by timm."""
    tower = subject.tower
    write_tower(tower, subject.preparation, folder)
    return Written(
        load=_how_to_load(tower),
        library="timm",
        differences={"image features": _check(subject, tower, folder)},
        notes=(NOTE_MAPS,) if tower.gives_maps else (),
    )


def write_tower(tower: TimmTower, preparation: Preparation, folder: Path, **more: Any) -> None:
    """Weights and the configuration that timm and, with `model_type` among `more`, transformers read."""
    state = {name: tensor.contiguous() for name, tensor in tower.network.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    content: dict[str, Any] = {
        "architecture": tower.architecture,
        "num_classes": 0,
        "model_args": tower.arguments,
        "pretrained_cfg": describe_input(preparation),
        **more,
    }
    if tower.gives_maps and not more:
        # timm fills the whole network before it cuts off the stages behind the maps. It lets weights of these be
        # missing where the file is of another number of classes.
        del content["num_classes"]
        content["pretrained_cfg"] |= {"num_classes": CLASSES, "classifier": "fc"}
    (folder / CONFIG).write_text(json.dumps(content, indent=1), encoding="utf-8")


def describe_input(preparation: Preparation) -> dict[str, Any]:
    """`preparation` in the words of timm's transforms, as near as they come."""
    return {
        "input_size": [3, preparation.side, preparation.side],
        "fixed_input_size": False,
        "interpolation": preparation.interpolation,
        "crop_pct": preparation.seen / preparation.square,
        "crop_mode": "center" if preparation.resize == SHORTEST else _crop_mode(preparation),
        "mean": list(preparation.colour_mean),
        "std": list(preparation.colour_std),
        "num_classes": 0,
    }


def _crop_mode(preparation: Preparation) -> str:
    """timm's `border` keeps proportions and pads; it does not when something of the square is cut off."""
    if preparation.resize == "longest":
        return "border" if preparation.seen == preparation.square else "center"
    return "squash"


def _check(subject: Subject, tower: TimmTower, folder: Path) -> float:
    """Open the file and the folder as a user does, and compare."""
    grey = example(subject.preparation)
    wanted, pixels = subject.image_features(grey), subject.preparation.colours(grey)
    opened = [
        timm.create_model(tower.architecture, num_classes=0, checkpoint_path=str(folder / WEIGHTS), **tower.arguments),
        timm.create_model(f"local-dir:{folder}", pretrained=True),
    ]
    with torch.inference_mode():
        found = [pool_maps(network.eval()(pixels)) for network in opened]
    return max(expect_same(each, wanted, "image features") for each in found)


def _how_to_load(tower: TimmTower) -> str:
    arguments = "".join(f", {name}={value!r}" for name, value in tower.arguments.items())
    use = "model(pixels)[-1].mean((2, 3))" if tower.gives_maps else "model(pixels)"
    return f'''import timm
from PIL import Image

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
# or, from the file of weights alone:
model = timm.create_model("{tower.architecture}", num_classes=0{arguments}, checkpoint_path="FOLDER/{WEIGHTS}").eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))  # of the first of the two
pixels = transform(Image.open("square.png").convert("RGB"))[None]
features = {use}'''
