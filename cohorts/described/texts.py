"""The reports of a manifest by the names of their images, in little more memory than the texts themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


class TextsByName:
    """Finds the text of a name. A dict of as many strings would take several times the memory."""

    def __init__(self, names: pd.Series, lines: pd.Series, texts: pd.Series) -> None:
        """`lines` says which of `texts` each of the `names` has; of a name that is there twice the first counts."""
        self._names, self._lines, self._texts = names, lines.to_numpy(), texts
        hashes = np.fromiter(map(hash, names), np.int64, len(names))
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def find(self, name: str) -> str:
        """The text of a name; empty where there is no such name."""
        place = int(np.searchsorted(self._hashes, hash(name)))
        while place < len(self._hashes) and self._hashes[place] == hash(name):
            row = self._order[place]
            if self._names.iat[row] == name:
                return str(self._texts.iat[self._lines[row]])
            place += 1
        return ""
