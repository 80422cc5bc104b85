"""`python -m benchmarks.mutated_checkpoints --files 1000`: released files that are damaged or hostile.

A small checkpoint of MedKLIP is written in several containers. Each file is changed: cut short, bytes altered, other
objects in its pickle, programs in its pickle, zip bombs, weights missing, left over, of another size, type or not
finite. Every file has to be opened, or refused with one sentence. Nothing in a file may run: programs leave a mark.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import random
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from models.errors import ModelError
from models.released.formats.medklip import BOOKS, DESCRIPTIONS, ReleasedMedklip
from models.released.opening import open_file

SETTINGS = {
    "backbone": {"blocks": [1, 1, 1], "planes": [4, 4, 4], "base_width": 64, "channels": 3},
    "entities": ["effusion", "pneumonia"], "width": 16, "text_width": 12, "layers": 1, "feed_forward": 8,
}  # fmt: skip
SLOW = 20.0  # seconds for one file, which is small
Mutation = Callable[[bytes, random.Random, Path], bytes]


class Program:
    """An object whose pickle runs a command when it is loaded without care."""

    def __init__(self, mark: Path, way: int) -> None:
        self.mark, self.way = mark, way

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        import os

        if self.way == 0:
            return os.system, (f"touch {self.mark}",)
        if self.way == 1:
            return eval, (f"open({str(self.mark)!r}, 'w')",)
        return Path.touch, (self.mark,)


def make_state() -> dict[str, torch.Tensor]:
    """The weights as MedKLIP's authors name them."""
    torch.manual_seed(0)
    children = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6"}
    state = {}
    for name, tensor in ReleasedMedklip(SETTINGS).state_dict().items():
        if name.startswith("backbone."):
            first, _, rest = name.removeprefix("backbone.").partition(".")
            name = f"res_features.{children[first]}.{rest}"
        if name != "entity_book":
            state[f"module.{name}"] = tensor
    return state


def write_texts(folder: Path) -> None:
    """The folder of the text encoder, with the vectors themselves."""
    folder.mkdir()
    names = SETTINGS["entities"]
    assert isinstance(names, list)
    (folder / DESCRIPTIONS).write_text(json.dumps(dict.fromkeys(names, "a text")))
    save_file({"entity_book": torch.randn(len(names), 12)}, folder / BOOKS)


def saved(content: Any, zipped: bool = True) -> bytes:
    """What `torch.save` writes."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def containers() -> dict[str, bytes]:
    """The checkpoint in each container."""
    state = make_state()
    content = {"model": state, "epoch": 3, "config": {"lr": 0.1}}
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights/pytorch_model.bin", saved(content))
    return {"zip": saved(content), "stream": saved(content, zipped=False), "packed": inner.getvalue()}


def cut(content: bytes, rng: random.Random, _: Path) -> bytes:
    """Cut short anywhere."""
    return content[: rng.randrange(len(content))]


def alter(content: bytes, rng: random.Random, _: Path) -> bytes:
    """Some bytes are others."""
    changed = bytearray(content)
    for _number in range(rng.choice((1, 8, 64))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def alter_head(content: bytes, rng: random.Random, _: Path) -> bytes:
    """Bytes of the pickle or of the directory of the zip file are others."""
    changed = bytearray(content)
    start = rng.choice((0, max(0, len(content) - 4000)))
    for _number in range(rng.randrange(1, 6)):
        changed[min(len(changed) - 1, start + rng.randrange(4000))] = rng.randrange(256)
    return bytes(changed)


def repeat(content: bytes, rng: random.Random, _: Path) -> bytes:
    """A piece stands twice."""
    start = rng.randrange(len(content))
    return content[:start] + content[start : start + rng.randrange(1, 5000)] + content[start:]


def other_objects(_: bytes, rng: random.Random, __: Path) -> bytes:
    """Another content than a checkpoint."""
    choices: tuple[Any, ...] = (
        None, 3, "text", [1, 2], {}, {"model": None}, {"model": {"a": 1}}, {1: torch.ones(2)}, torch.ones(3),
        {"model": {"module.disease_embedding_layer.weight": torch.ones(())}}, [{"model": make_state()}],
    )  # fmt: skip
    return saved(rng.choice(choices), zipped=rng.random() < 0.5)


def programs(_: bytes, rng: random.Random, mark: Path) -> bytes:
    """A program in the pickle, alone or beside the weights, in a class of its own or not."""
    program = Program(mark, rng.randrange(3))
    content = rng.choice(({"model": make_state(), "config": program}, program, [program], {"model": program}))
    way = rng.randrange(3)
    return pickle.dumps(content, protocol=2) if way == 2 else saved(content, zipped=way == 0)


def bombs(_: bytes, rng: random.Random, __: Path) -> bytes:
    """A zip file that unpacks to much more than it is."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        name = rng.choice(("archive/data.pkl", "pytorch_model.bin", "archive/data/0"))
        archive.writestr(name, b"\0" * rng.choice((10**6, 10**8)))
        archive.writestr("archive/version", b"3")
    return file.getvalue()


def weights(_: bytes, rng: random.Random, __: Path) -> bytes:
    """A weight is missing, left over, of another size or type, or not finite."""
    state = make_state()
    name = rng.choice([name for name in state if "num_batches" not in name])
    way = rng.randrange(6)
    if way == 0:
        del state[name]
    elif way == 1:
        state["module.surplus"] = torch.ones(3)
    elif way == 2:
        state[name] = torch.cat([state[name], state[name]])
    elif way == 3:
        state[name] = state[name].to(torch.int64)
    elif way == 4:
        state[name] = state[name] * float("nan")
    else:
        state[name] = torch.empty(0)
    return saved({"model": state})


MUTATIONS: tuple[Mutation, ...] = (cut, alter, alter_head, repeat, other_objects, programs, bombs, weights)


def try_file(path: Path, texts: Path) -> str:
    """What became of a file: opened, refused, or in which way that failed."""
    start = time.monotonic()
    try:
        open_file(path, "medklip", texts=texts)
        found = "opened"
    except ModelError as error:
        found = "refused" if "\n" not in str(error) else "refused in more than a line"
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    return found if time.monotonic() - start < SLOW else f"took {time.monotonic() - start:.0f} s"


def run(files: int, seed: int, folder: Path) -> Counter[str]:
    """Mutate and open; returns what became of the files, by mutation and outcome."""
    rng, texts, mark = random.Random(seed), folder / "texts", folder / "mark"
    write_texts(texts)
    whole = containers()
    found: Counter[str] = Counter()
    for number in range(files):
        mutation, (container, content) = MUTATIONS[number % len(MUTATIONS)], rng.choice(sorted(whole.items()))
        path = folder / "checkpoint.pth"
        path.write_bytes(mutation(content, rng, mark))
        outcome = try_file(path, texts)
        if mark.exists():
            mark.unlink()
            outcome = "a program ran"
        found[
            f"{mutation.__name__}, {container}: {outcome}" if outcome not in OK else f"{mutation.__name__}: {outcome}"
        ] += 1
    return found


OK = ("opened", "refused")


def failures(found: Counter[str]) -> list[str]:
    """The outcomes that must not be."""
    return [text for text in found if text.partition(": ")[2] not in OK]


def main() -> int:
    """Returns the exit status: 1 if a file did what it must not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutated_checkpoints", description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(options.files, options.seed, Path(folder))
    for text, count in sorted(found.items()):
        print(f"{count:5}  {text}")
    return int(bool(failures(found)))


if __name__ == "__main__":
    sys.exit(main())
