"""Decodes an upload in the bounded processes of ingestion: for the eye, and as each served network reads it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

import cv2
import numpy as np

from imaging.decode import DecodedImage, SquareOptions
from imaging.errors import ImageError
from imaging.pool import DecoderPool, usable_cores
from models.saved import ModelCard
from radalign.images import FILM, film_in
from radalign.serving.films import Film
from radalign.serving.placing import WHOLE, find_part
from radalign.serving.uploads import Upload

SHOWN = 2048  # pixels of the longer side of what a reader sees; smaller images are shown as they are
MOST_WORKERS = 2


class Decoder:
    """Processes that decode uploads for a list of networks. Close it when done."""

    def __init__(self, cards: Sequence[ModelCard]) -> None:
        self._cards = list(cards)
        self._cuts = any(card.decoding.get("crop_borders") for card in cards)
        self._pool = DecoderPool(min(MOST_WORKERS, usable_cores()))
        self._threads = ThreadPoolExecutor(self._pool.workers, "decoding")

    def warm_up(self) -> None:
        """Start every process."""
        picture = cv2.imencode(".png", np.arange(64 * 64, dtype=np.uint8).reshape(64, 64))[1].tobytes()
        with Upload() as upload:
            upload.write(picture)
            list(self._threads.map(lambda _: self._square(upload, SquareOptions(64)), range(self._pool.workers)))

    def decode(self, upload: Upload, shown: bool) -> Film:
        """The radiograph in an upload, with what a reader sees of it if it will be `shown`.

        Raises:
            ImageError: it cannot be decoded.
            MachineError: this machine failed.
        """
        shown = shown or self._cuts
        wanted = [_options(card) for card in self._cards] + [SquareOptions(SHOWN)] * shown
        asked = {options: self._threads.submit(self._square, upload, options) for options in dict.fromkeys(wanted)}
        wait(asked.values())  # all of them, because the upload goes then
        squares = {options: answer.result() for options, answer in asked.items()}
        first = squares[wanted[0]]
        inputs = tuple(
            self._film(upload, squares[options], FILM) if card.released else squares[options].pixels
            for card, options in zip(self._cards, wanted, strict=False)
        )
        seen = self._film(upload, squares[SquareOptions(SHOWN)], SHOWN) if shown else None
        inner = find_part(seen) if self._cuts and seen is not None else WHOLE
        return Film(first.height, first.width, first.header.kept, inputs, first.display_fallback, inner, seen)

    def close(self) -> None:
        """End every process, also one that is decoding."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pool.__exit__()
        for process in self._pool.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _film(self, upload: Upload, square: DecodedImage, size: int) -> np.ndarray:
        return film_in(square, size, lambda options: self._square(upload, options))

    def _square(self, upload: Upload, options: SquareOptions) -> DecodedImage:
        found = self._pool.decode(upload.path, options)
        if isinstance(found, ImageError):
            raise found
        return found


def _options(card: ModelCard) -> SquareOptions:
    """How a network's images are decoded, as in `radalign.model`."""
    return SquareOptions(FILM) if card.released else SquareOptions(card.shard_size or card.size, **card.decoding)
