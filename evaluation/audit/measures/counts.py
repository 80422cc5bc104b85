"""How many images have each finding, by split and by group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from evaluation.audit.measures.examined import UNKNOWN
from evaluation.audit.rows import CountRow


def count_findings(
    split: str, findings: Sequence[str], labels: np.ndarray, groups: Mapping[str, np.ndarray]
) -> Iterator[CountRow]:
    """A row for each finding in the split, and in each group of it; `labels` (n, findings) 1, 0 or nan.

    `groups` are fact -> (n,). Images of unknown group are counted with the split alone.
    """
    masks = {("", ""): np.ones(len(labels), bool)}
    for fact, names in groups.items():
        masks |= {(fact, name): names == name for name in np.unique(names).tolist() if name != UNKNOWN}
    for (fact, group), mask in masks.items():
        for column, finding in enumerate(findings):
            values = labels[mask, column]
            known, positives = int((~np.isnan(values)).sum()), int((values == 1).sum())
            yield CountRow(split, fact, group, finding, int(mask.sum()), known, positives)
