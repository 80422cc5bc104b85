"""Nested label fractions: the part of the train split that a method may see labels of, the same for every method.

A fraction is a share of the patients: 1 % is a part of 10 %, which is a part of all, and the images of a patient stay
together. The published papers choose fractions of images without a seed and not nested (methods.md 4.2), so two methods
at 1 % have seen different images.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cohorts.labels import label_matrix, label_names
from cohorts.splits import patient_positions
from imaging.dicom.views import FRONTAL, kinds_of_views
from store.errors import SettingError

FRACTIONS = (0.01, 0.1, 1.0)
SUBSETS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("fraction", pa.float32(), nullable=False),  # the least one with the image; larger ones have it too
    ],
    metadata={"table": "subsets", "version": "1"},
)
PRESENCE = pa.schema(
    [
        pa.field("fraction", pa.float32(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("labelled", pa.int64(), nullable=False),  # images of the fraction that mention the label
        pa.field("positive", pa.int64(), nullable=False),  # images where it is present
    ],
    metadata={"table": "presence", "version": "1"},
)


def subset_table(studies: pa.Table, seed: int = 0) -> pa.Table:
    """The images of the train split with the least of FRACTIONS that holds each, in the order of `studies`.

    The fraction of a patient depends on the seed, the cohort and the patient alone, so it stays when the archive grows.
    If no patient falls into the least fraction, the nearest patient with a frontal image does, so that images of other
    views change no fraction of frontal ones.
    """
    kinds = pa.array(kinds_of_views(studies["view"].to_pylist()), pa.string())
    named = studies.select(["cohort", "subject_id", "image_id"]).append_column("kind", kinds)
    train = named.filter(pc.equal(studies["split"], "train"))
    patients = pc.binary_join_element_wise(train["cohort"], train["subject_id"], "/").to_pandas()
    positions = patient_positions("subsets", str(seed), patients)
    fractions = np.searchsorted(FRACTIONS, positions, side="right")
    frontal = pc.equal(train["kind"], FRONTAL).to_numpy()
    nearest = positions[frontal] if frontal.any() else positions
    fractions[positions == nearest.min(initial=1)] = 0
    return pa.table([train["image_id"], np.asarray(FRACTIONS, np.float32)[fractions]], schema=SUBSETS)


def images_of(subsets: pa.Table, fraction: float) -> pa.ChunkedArray:
    """image_id of the images in one of FRACTIONS; ValueError for another share."""
    if fraction not in FRACTIONS:
        raise SettingError(f"There is no label fraction {fraction}; choose {', '.join(map(str, FRACTIONS))}.")
    return subsets.filter(pc.less_equal(subsets["fraction"], pa.scalar(fraction, pa.float32())))["image_id"]


def class_presence(studies: pa.Table, subsets: pa.Table) -> pa.Table:
    """How many images of each fraction mention each label and have it: a class without images cannot be learned."""
    names = label_names(studies["labels"])
    parts = []
    for fraction in FRACTIONS:
        held = studies.filter(pc.is_in(studies["image_id"], images_of(subsets, fraction).combine_chunks()))
        values = label_matrix(held["labels"], names)
        counts = [(~np.isnan(values)).sum(axis=0), (values == 1).sum(axis=0)]
        parts.append(pa.table([np.full(len(names), fraction, np.float32), names, *counts], schema=PRESENCE))
    return pa.concat_tables(parts)
