"""TBX11K: PNG in a folder for each class, the two lists, and COCO files of the boxes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cohorts.phantom.files import write_image
from cohorts.phantom.simulated import SimulatedStudy, regions
from store.atomic import write_text

SIZE = 512
CATEGORIES = ("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis")
LESIONS = {"consolidation": 1, "nodule": 2}  # finding -> the category that it stands for
NUMBERED = {"health": "h{:04d}", "sick": "s{:04d}", "tb": "tb{:04d}"}


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """imgs/, lists/ and annotations/json/ in `root`; the validation patients are in train."""
    for part in ("train", "val"):
        own = [study for study in studies if (study.split == "test") == (part == "val")]
        images: list[dict[str, Any]] = []
        boxes: list[dict[str, Any]] = []
        for study in own:
            image = study.resized(SIZE, SIZE)
            write_image(root / "imgs" / image_name(study), image.grey)
            images.append({"id": len(images) + 1, "file_name": image_name(study), "width": SIZE, "height": SIZE})
            boxes += [
                {"id": 0, "image_id": images[-1]["id"], "category_id": category, "bbox": list(map(float, box))}
                for name, category in LESIONS.items()
                for box in (regions(image.masks[name]) if name in image.masks else [])
            ]
        content = {
            "images": images,
            "annotations": [{**box, "id": number} for number, box in enumerate(boxes, start=1)],
            "categories": [
                {"id": number, "name": name, "supercategory": "Tuberculosis"}
                for number, name in enumerate(CATEGORIES, start=1)
            ],
        }
        write_text(root / "lists" / f"TBX11K_{part}.txt", "".join(f"{image['file_name']}\n" for image in images))
        write_text(root / "annotations" / "json" / f"TBX11K_{part}.json", json.dumps(content))


def class_of(study: SimulatedStudy) -> str:
    """The folder: lesions stand for tuberculosis, other findings of the image for another disease."""
    return "tb" if study.masks.keys() & LESIONS.keys() else "sick" if study.masks else "health"


def image_name(study: SimulatedStudy) -> str:
    """tb/tb0005.png."""
    folder = class_of(study)
    return f"{folder}/{NUMBERED[folder].format(study.index + 1)}.png"
