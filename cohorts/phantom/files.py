"""How the simulator writes tables and images."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from store.atomic import replacing


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV file, gzipped by its name; None is an empty field. The same bytes for the same rows."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows] if header else rows)
    content = text.getvalue().encode()
    with replacing(path) as partial_path:
        partial_path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Pixels (height, width) or BGR(A) as JPG or PNG, told by the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])  # noise packs badly at any level
