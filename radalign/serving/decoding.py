"""Decodes an upload in the bounded processes of ingestion: for the eye, and as each served network reads it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import cv2
import numpy as np

from imaging.decode import DecodedImage, SquareOptions
from imaging.errors import ImageError
from imaging.pool import DecoderPool, usable_cores
from models.saved import ModelCard
from radalign.images import FILM, film_in
from radalign.placing import WHOLE, find_part
from radalign.serving.films import Film
from radalign.serving.uploads import Upload

SHOWN = 2048  # pixels of the longer side of what a reader sees; smaller images are shown as they are
MOST_WORKERS = 2


class Decoder:
    """Processes that decode uploads for a list of networks. Close it when done."""

    def __init__(self, cards: Sequence[ModelCard]) -> None:
        self._cards = list(cards)
        self._cuts = any(card.decoding.get("crop_borders") for card in cards)
        self._pool = DecoderPool(min(MOST_WORKERS, usable_cores()))

    def warm_up(self) -> None:
        """Start every process."""
        picture = cv2.imencode(".png", np.arange(64 * 64, dtype=np.uint8).reshape(64, 64))[1].tobytes()
        with Upload() as upload, ThreadPoolExecutor(self._pool.workers) as threads:
            upload.write(picture)
            list(threads.map(lambda _: self._squares(upload, [SquareOptions(64)]), range(self._pool.workers)))

    def decode(self, upload: Upload, shown: bool) -> Film:
        """The radiograph in an upload, with what a reader sees of it if it will be `shown`.

        Raises:
            ImageError: it cannot be decoded.
            MachineError: this machine failed.
        """
        shown = shown or self._cuts
        wanted = [_options(card) for card in self._cards] + [SquareOptions(SHOWN)] * shown
        asked = list(dict.fromkeys(wanted))
        squares = dict(zip(asked, self._squares(upload, asked), strict=True))
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
        self._pool.__exit__()
        for process in self._pool.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _film(self, upload: Upload, square: DecodedImage, size: int) -> np.ndarray:
        return film_in(square, size, lambda options: self._squares(upload, [options])[0])

    def _squares(self, upload: Upload, several: Sequence[SquareOptions]) -> list[DecodedImage]:
        found = self._pool.decode_several(upload.path, several)
        if isinstance(found, ImageError):
            raise found
        return found


def _options(card: ModelCard) -> SquareOptions:
    """How a network's images are decoded, as in `radalign.model`."""
    return SquareOptions(FILM) if card.released else SquareOptions(card.shard_size or card.size, **card.decoding)
