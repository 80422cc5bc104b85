"""The pairs of a step: images and token ids or targets, a function of the seed and the number of the step alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imaging.augment import Augmentation, AugmentationConfig
from imaging.dicom.views import USUAL
from models.distributed import world_size
from models.method import Batch, Method
from shards.pool_reader import Reader, cohorts_of, open_reader
from store.digests import fingerprint
from store.seals import unlink
from training.config import TrainingConfig
from training.data.chosen import expect_views, group_pairs
from training.data.reports import read_reports
from training.errors import TrainingError
from training.parallel.rows import own_rows, row_noise


@dataclass(frozen=True)
class Pairs:
    """The pairs of a batch that one process works on, as they are in the shards."""

    batch: Batch  # images 8-bit, not augmented; texts of flipped ones describe the mirrored image
    flipped: Tensor  # (views, batch) bool: the image is yet to be mirrored; a second row is of the second view
    rows: np.ndarray  # of the whole batch, all processes together

    def pinned(self, device: torch.device) -> Pairs:
        """The pairs where a GPU fetches them without waiting; as they are for a CPU."""
        if device.type != "cuda":
            return self
        return replace(self, batch=self.batch.apply(Tensor.pin_memory))

    def augmented(self, augmentation: Augmentation, device: torch.device, parts: int = 1) -> Batch:
        """The batch on the device, each view of an image changed at random there, by the CPU's generator.

        `parts` is how many parts of the whole batch pass the encoders one after the other.
        """
        batch, flipped = self.batch.to(device), self.flipped.to(device)
        with row_noise(len(self.rows), parts):
            images, *views = (
                augmentation(batch.images, view).contiguous(memory_format=torch.channels_last) for view in flipped
            )
        return replace(batch, images=images, views=views[0] if views else None)


class PairData:
    """The pairs of a split that a method can learn from: images of the `views`, of whose report it reads anything.

    A `pair` is an image, or a study of which one image is taken at random.

    `cache` is the file that keeps the token ids for the next start, and `made_by` tells the run that they are of.
    """

    def __init__(
        self,
        reader: Reader,
        split: str,
        method: Method,
        flips: AugmentationConfig,
        cache: Path,
        made_by: str = "",
        views: Sequence[str] = USUAL,
        pair: str = "image",
    ) -> None:
        self.reader, self.split, self.flips, self.cache = reader, split, flips, cache
        self.swaps = bool(flips.horizontal_flip) and flips.flip_sides == "swap"
        self.two_views = method.two_views
        self.reports = read_reports(reader, split, method, self.swaps, cache, fingerprint(made_by, split))
        self.pixels = reader.pixels(split)
        chosen = np.isin(reader.kinds(split), views) & self.reports.readable
        self.images = int(chosen.sum())
        self.chosen = group_pairs(reader, split, np.flatnonzero(chosen), pair)

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def rows(self) -> np.ndarray:
        """(pairs,) the image of each pair, or the first one where it has several."""
        return self.chosen.rows

    @property
    def left_out(self) -> int:
        """Images of the split that are not trained on: of other views, or with nothing that the method reads."""
        return len(self.pixels) - self.images

    def forget(self) -> None:
        """Remove the token ids that were kept for the next start: a finished run has none."""
        unlink(self.cache)

    def image_ids(self, rows: np.ndarray) -> list[str]:
        """The images of `rows`."""
        ids: list[str] = self.reader.columns(self.split, ["image_id"])["image_id"].take(rows).to_pylist()
        return ids

    def cohorts(self) -> np.ndarray:
        """(pairs,) the cohort that each pair is from."""
        return cohorts_of(self.reader, self.split)[self.rows]

    def room(self, batches: int, batch_size: int) -> np.ndarray:
        """Arrays (batches, pairs of this process, size, size) to read pixels into again and again.

        New memory for every batch would take longer to get and to give back than the pixels take to read.
        """
        return np.empty((batches, batch_size // world_size(), self.pixels.size, self.pixels.size), np.uint8)

    def pairs(
        self, chosen: np.ndarray, rng: np.random.Generator, into: np.ndarray | None = None, parts: int = 1
    ) -> Pairs:
        """The pairs `chosen`, of 0 .. len - 1, their pixels in the array `into` if there is one.

        Texts and flips are sampled for the whole batch; pixels are read for this process's share of its `parts` alone.
        """
        rows = self.chosen.draw(chosen, rng)
        sampled = self.reports.sample(rows, rng)
        flipped = rng.random(len(rows)) < self.flips.horizontal_flip
        if self.swaps:
            flipped &= self.reports.can_mirror(sampled)
        views = [flipped, rng.random(len(rows)) < self.flips.horizontal_flip] if self.two_views else [flipped]
        share = own_rows(len(rows), parts)
        # of the whole batch, so that all texts are padded to one length
        whole = self.reports.build_batch(torch.empty(len(rows)), sampled, flipped & self.swaps)
        room = None if into is None else into[: len(share)]
        images = torch.from_numpy(self.pixels.read(rows[share], room))[:, None]
        return Pairs(replace(whole.part(share), images=images), torch.from_numpy(np.stack(views)[:, share]), rows)


def open_shards(config: TrainingConfig) -> Reader:
    """The shards of a run, checked against the `data_version` of the configuration."""
    reader = open_reader(Path(config.shards))
    if config.data_version and reader.manifest.digest != config.data_version:
        raise TrainingError(
            f"{config.shards} holds data version {reader.manifest.digest[:12]}, but this run was asked to use "
            f"{config.data_version[:12]}; build the configuration anew"
        )
    return reader


def training_pairs(config: TrainingConfig, reader: Reader, method: Method, made_by: str = "") -> PairData:
    """The training split, which has to hold a batch."""
    flips = AugmentationConfig(**config.augmentation)
    expect_views(reader, "train", config.view_kinds)
    cache = Path(config.output) / "train_texts.npz"
    data = PairData(reader, "train", method, flips, cache, made_by, config.view_kinds, config.pair)
    if len(data) < config.batch_size:
        raise TrainingError(
            f"{config.shards} has {len(data)} training {_describe_pairs(method)}, fewer than one batch of "
            f"{config.batch_size}; lower `batch_size` or add studies"
        )
    _expect_last_batch(config, len(data) % config.batch_size)
    return data


def _describe_pairs(method: Method) -> str:
    if method.texts is not None:
        return f"pairs with text under {' or '.join(method.texts.sections)}"
    return "pairs with a triplet" if method.reads_targets else "images"


def _expect_last_batch(config: TrainingConfig, pairs: int) -> None:
    """Raise TrainingError where the short batch at the end of an epoch cannot be trained on."""
    parts = config.micro_batches * world_size()
    if config.last_batch == "keep" and pairs and (pairs == 1 or pairs % parts):
        why = "has nothing to be contrasted with" if pairs == 1 else f"cannot be divided into {parts} parts"
        raise TrainingError(
            f"training option `last_batch` is keep, and the last batch of an epoch, of {pairs} pairs, {why}; set "
            "`last_batch` to drop or across, or change `batch_size`"
        )


def validation_pairs(config: TrainingConfig, reader: Reader, method: Method, made_by: str = "") -> PairData | None:
    """The validation split; None where there is none and nothing depends on it.

    Its images are flipped only where they are seen twice.
    """
    cache = Path(config.output) / "validate_texts.npz"
    flips = AugmentationConfig(**config.augmentation) if method.two_views else AugmentationConfig()
    data = PairData(reader, "validate", method, flips, cache, made_by, config.view_kinds, config.pair)
    if len(data) == 1 and config.keeps_best and method.contrasts_pairs:
        raise TrainingError(
            f"{config.shards} has one validation pair, which has nothing to be contrasted with, so that the loss on "
            "which `early_stop` and the schedule `plateau` depend says nothing; set `early_stop` to 0 and `schedule` "
            "to cosine or constant, or add studies"
        )
    if len(data):
        return data
    if config.keeps_best:
        raise TrainingError(
            f"{config.shards} has no validation pairs, on which `early_stop` and the schedule `plateau` depend; set "
            "`early_stop` to 0 and `schedule` to cosine or constant, or add studies"
        )
    return None
