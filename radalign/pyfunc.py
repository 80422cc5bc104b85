"""A run of Radalign as a model of MLflow: a table of image files in, a table of scores out.

MLflow calls `_load_pyfunc` with the folder of a run (`tracking.model_versions`). This module does not import MLflow.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radalign.errors import RadalignError
from radalign.serving.uploads import Upload
from tracking.model_versions import FINDINGS, IMAGE

if TYPE_CHECKING:
    import pandas as pd

    from radalign.model import Model

CODE = str(Path(__file__).resolve().parents[1])


class ImageScorer:
    """Scores findings in image files."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, images: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """A row per image and a column per finding: scores in 0..1, higher where the finding is more likely present.

        `images` has the column `image` with the bytes of DICOM, JPG or PNG files. `params["findings"]` are findings in
        words, such as `pleural effusion`.

        Raises:
            RadalignError: a file cannot be read, or the network does not know a finding.
        """
        labels = [str(label) for label in (params or {}).get(FINDINGS, ())]
        if not labels:
            raise RadalignError(f'The parameter {FINDINGS} names no finding: give some, such as ["pleural effusion"].')
        if IMAGE not in images.columns:
            raise RadalignError(f"The input has no column `{IMAGE}` with the bytes of image files.")
        with ExitStack() as stack:
            uploads = [stack.enter_context(_upload(content)) for content in images[IMAGE]]
            paths = [upload.path for upload in uploads]
            try:
                return self.model.zero_shot(paths, labels).to_frame()
            except RadalignError as error:
                raise RadalignError(_name_rows(str(error), paths)) from None


def _upload(content: bytes) -> Upload:
    """A file in memory: nothing of an image is written to a disk."""
    upload = Upload()
    upload.write(content)
    return upload


def _name_rows(sentence: str, paths: Sequence[Path]) -> str:
    """The sentence with the rows of the table in the place of their paths."""
    for row, path in reversed(list(enumerate(paths, 1))):
        sentence = sentence.replace(str(path), f"of row {row}")
    return sentence


def _load_pyfunc(folder: str) -> ImageScorer:
    """The model in the folder of a run."""
    if sys.path[0] != CODE:  # a version of the registry brings its code along; all of it has to come from one place
        sys.path.insert(0, CODE)
    from radalign.loading import load

    return ImageScorer(load(folder))
