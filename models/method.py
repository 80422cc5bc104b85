"""The interface of every pretraining method, on which training and evaluation rely.

A method works in two phases. `encode` turns the pairs of a batch into tensors, without knowledge of the other pairs.
`contrast` turns the tensors of the whole batch into loss terms. Between the two phases the training gathers the tensors
of all processes, or of the micro-batches of a batch that is too large for the memory. A method contains no code for
either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.compute import BF16, FP32
from models.distributed import gather
from models.text.cleaning import CLEANING


@dataclass(frozen=True)
class Tokens:
    """Texts as token ids, padded to one length.

    Where a method reads several texts of a report, such as all its sentences, the shape is (batch, texts, length). A
    report with fewer texts than another has texts of padding alone.
    """

    ids: Tensor  # (batch, length) int64
    mask: Tensor  # (batch, length) bool: True for a token, special ones included, False for padding

    def apply(self, change: Callable[[Tensor], Tensor]) -> Tokens:
        """The same with both tensors changed."""
        return Tokens(change(self.ids), change(self.mask))

    def to(self, device: torch.device) -> Tokens:
        """The same tokens on another device."""
        return self.apply(lambda tensor: tensor.to(device))


@dataclass(frozen=True)
class Batch:
    """One step's pairs, as the loader gives them after augmentation."""

    images: Tensor  # (batch, 1, size, size) grey levels 0..255
    tokens: Tokens | None = None  # of methods that read text
    targets: Tensor | None = None  # (batch, positions, entities) int8: 1 present, 0 absent, -1 not mentioned
    views: Tensor | None = None  # as `images`, augmented a second time, of methods with `two_views`
    text_targets: Tensor | None = None  # as `targets`, of the text in `tokens` alone, of methods that read both

    def __len__(self) -> int:
        return len(self.images)

    def apply(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same with every tensor changed."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {
            name: value.apply(change) if isinstance(value, Tokens) else change(value)
            for name, value in values.items()
            if value is not None
        }
        return replace(self, **changed)

    def part(self, rows: slice | np.ndarray) -> Batch:
        """The pairs of `rows`."""
        return self.apply(lambda tensor: tensor[rows])

    def to(self, device: torch.device) -> Batch:
        """The same pairs on another device."""
        return self.apply(lambda tensor: tensor.to(device))


class TextTokenizer(Protocol):
    """Turns texts into token ids; special tokens are added, what is too long is cut."""

    pad: int
    length: int  # the longest text, special tokens included
    vocabulary: int  # how many ids there are

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of every text, not padded."""

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Padded to the longest."""


@dataclass(frozen=True)
class TextSource:
    """What a method reads of a report."""

    tokenizer: TextTokenizer
    sections: tuple[str, ...] = ("findings", "impression")  # joined in this order; "a/b": b in archives without a
    unit: str = "report"  # report: all of it; sentence: one, sampled for every step; sentences: each; sections: each
    cleaning: str = "none"  # words: lower-case words only, as GLoRIA and MGCA prepare them
    minimum_words: int = 1  # a sentence with fewer is left out
    minimum_report_words: int = 0  # a report with fewer, cleaned and in the sentences that are kept, is left out
    missing: str = ""  # text of a report without any of the sections; "": its pair is left out
    unpaired: bool = False  # such a report, if it has findings, borrows a text that shares one from another report

    def tokens(self, texts: Sequence[str], device: torch.device) -> Tokens:
        """Other texts, such as prompts, cleaned and tokenised as the reports are."""
        return self.tokenizer([CLEANING[self.cleaning](text) for text in texts]).to(device)


@dataclass(frozen=True)
class ZeroShot:
    """Zero-shot predictions for queries."""

    scores: Tensor  # (batch, queries) in 0..1, higher = more likely present
    maps: Tensor  # (batch, queries, grid, grid) of each query over the image, non-negative


@dataclass(frozen=True)
class WordMaps:
    """Attention of each word of a sentence over an image."""

    words: list[list[str]]  # of each sentence
    maps: Tensor  # (batch, words, rows, columns), each word's summing to 1; shorter sentences end in zeros

    def mean(self) -> Tensor:
        """(batch, rows, columns): the mean attention of the words of each sentence."""
        counts = self.maps.new_tensor([max(1, len(words)) for words in self.words])
        return self.maps.sum(1) / counts[:, None, None]


class Method(nn.Module):
    """A pretraining method: named loss terms of a batch, and zero-shot predictions where it has them."""

    texts: TextSource | None = None  # None: the method reads no text
    reads_targets = False  # whether it reads the findings of a report; without both it reads images alone
    uncertain = -1  # what an uncertain finding is in `targets`; another number where it is told from an unmentioned one
    two_views = False  # whether it is given each image twice, augmented differently
    contrasts_pairs = False  # whether its loss contrasts the pairs of a batch with each other, and so needs two
    registered = ""  # the name that it was built by, see `models.registry`
    query_kind = "label"  # what zero-shot queries are: a cohort's label names, or `entity` names of the knowledge
    size = 224  # side of the images that the network takes
    fit = "resize"  # how larger images come to that size outside training: resize, or crop to the centre
    channels = 1  # of the network's input; 3: the grey image in each colour, normalised as a colour image
    grey_mean, grey_std = 0.449 * 255, 0.226 * 255  # of ImageNet, averaged over its three channels
    colours = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # mean and std of ImageNet's channels, 0..255
    precision = FP32  # of a trained network's products, see models.compute; the pretraining has a setting of its own

    def prepare(self, images: Tensor) -> Tensor:
        """Grey levels 0..255 (batch, 1, side, side) -> the network's input (batch, channels, size, size)."""
        levels = self.fitted(images).to(self.numbers)
        if self.channels == 1:
            return (levels - self.grey_mean) / self.grey_std
        mean, std = (levels.new_tensor(values)[:, None, None] for values in self.colours)
        return (levels - mean) / std

    def fitted(self, images: Tensor) -> Tensor:
        """Images of another side than the network's, resized or cropped to it."""
        side = images.shape[-1]
        if side == self.size:
            return images
        if self.fit == "crop" and side > self.size:
            start = (side - self.size) // 2
            return images[..., start : start + self.size, start : start + self.size]
        return F.interpolate(images.float(), size=(self.size, self.size), mode="bilinear", antialias=True)

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """What the losses need of each pair, first axis = batch; no pair knows of another (batch norm aside)."""
        raise NotImplementedError

    def contrast(self, encoded: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalar loss terms by name, weighted, of the whole batch; their sum is minimised."""
        raise NotImplementedError

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Loss terms of the batch that all processes of a run hold together."""
        return self.contrast({name: gather(tensor) for name, tensor in self.encode(batch).items()})

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The losses."""
        return self.losses(batch)

    def on_step_start(self) -> None:
        """Called before the first batch of a step: a method may update what follows its weights, as a key encoder."""

    def on_step_end(self) -> None:
        """Called after the update of a step: a method may keep what it has seen in the step, as a queue of keys.

        What outlives a step is a parameter or a buffer, and so in the checkpoint. `contrast` is called for every batch
        of a step, so it sets aside what is kept here, in training mode alone.
        """

    def on_gradients(self, epoch: float) -> None:
        """Called between backward and update, `epoch` counting from 0: a method may hold gradients back here."""

    def telemetry(self) -> dict[str, float]:
        """Values to plot over the training, such as a learned temperature."""
        return {}

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, dim) features for linear probes, before any projection: the pooled ones of `image_encoder`."""
        pooled: Tensor = self._encoder("image features")(self.prepare(images)).pooled
        return pooled

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) to detect and segment with, fine to coarse: of `image_encoder`."""
        maps: list[Tensor] = self._encoder("feature maps").maps(self.prepare(images))
        return maps

    def _encoder(self, wanted: str) -> Any:
        """The network's `image_encoder`, a models.encoders.image.ImageEncoder."""
        if not hasattr(self, "image_encoder"):
            raise NotImplementedError(f"{self.called} has no {wanted}")
        return self.image_encoder

    def embed_images(self, images: Tensor) -> Tensor:
        """(batch, dim) L2-normalised vectors in the space that images share with texts."""
        raise NotImplementedError(f"{self.called} has no joint space")

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(texts, dim) L2-normalised vectors in that space."""
        raise NotImplementedError(f"{self.called} has no joint space")

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(batch, texts), higher = better match, for retrieval: the cosine."""
        return self.embed_images(images) @ self.embed_texts(texts).T

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Score and locate `queries` in grey levels 0..255 (batch, 1, side, side)."""
        raise NotImplementedError(f"{self.called} has no zero-shot classification")

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """(batch, rows, columns), non-negative: where in grey levels 0..255 (batch, 1, side, side) a phrase points,
        one phrase per image."""
        raise NotImplementedError(f"{self.called} has no maps of phrases")

    def write_reports(self, images: Tensor, beam: int = 1) -> list[str]:
        """A report for each of the grey levels 0..255 (batch, 1, side, side): by the likeliest word at a time, or by
        a search that keeps `beam` beginnings."""
        raise NotImplementedError(f"{self.called} writes no reports")

    def word_maps(self, images: Tensor, sentences: Sequence[str]) -> WordMaps:
        """Attention of the words over grey levels 0..255 (batch, 1, side, side), one sentence per image."""
        raise NotImplementedError(f"{self.called} has no attention of words")

    @property
    def called(self) -> str:
        """Its name in messages: the registered one, or that of the class."""
        return self.registered or type(self).__name__

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.parameters()).device

    @property
    def numbers(self) -> torch.dtype:
        """Of the parameters: float32, or float64 where a comparison asks for it."""
        return next(self.parameters()).dtype

    def autocast(self) -> torch.autocast:
        """Products in `precision`."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == BF16)

    @property
    def facts(self) -> dict[str, Any]:
        """Sizes worth recording with a run."""
        counts = {True: 0, False: 0}
        for parameter in self.parameters():
            counts[parameter.requires_grad] += parameter.numel()
        return {"parameters": counts[True] + counts[False], "trainable_parameters": counts[True]}
