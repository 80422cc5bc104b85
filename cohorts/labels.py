"""Label columns of published tables as the `labels` map of a study."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

LABELS = pa.map_(pa.string(), pa.float32())


def label_maps(names: Sequence[str], values: np.ndarray) -> pa.MapArray:
    """Maps name -> value from a (rows, names) matrix; what is NaN (not mentioned) is left out of the map."""
    mentioned = ~np.isnan(values)
    offsets = np.concatenate([[0], np.cumsum(mentioned.sum(axis=1))]).astype(np.int32)
    keys = np.asarray(names, dtype=object)[np.nonzero(mentioned)[1]]
    items = values[mentioned].astype(np.float32)
    return pa.MapArray.from_arrays(offsets, pa.array(keys, pa.string()), pa.array(items, pa.float32()))
