"""What is kept of an image of a night: what a network scores it, how it looks, and what the archive says of it.

No text of a report and no identifier but that of the image is in it. Patients are numbers within their table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cohorts.labels import LABELS, label_maps, label_matrix, label_names
from evaluation.dataset import EvaluationDataset, Images, entities_of
from evaluation.errors import NotAvailableError
from evaluation.metrics.facts import study_facts
from report_parsing.vocabulary import CHEXPERT_14, ENTITIES
from store import batches

if TYPE_CHECKING:
    from evaluation.predictions import Predictions

BLOCK = 512  # images whose pixels are held at once
FACTS = ("kind", "view", "device", "site", "sex", "age")  # of the study, as study_facts has them

SCORED = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("patient", pa.int32(), nullable=False),  # the same number: the same patient, within this table
        pa.field("split", pa.string(), nullable=False),
        pa.field("kind", pa.string()),  # frontal, lateral, unknown
        pa.field("view", pa.string()),
        pa.field("device", pa.string()),
        pa.field("site", pa.string()),
        pa.field("sex", pa.string()),
        pa.field("age", pa.float32()),  # years
        pa.field("grey", pa.float32(), nullable=False),  # mean grey level of the square, 0..255
        pa.field("contrast", pa.float32(), nullable=False),  # standard deviation of its grey levels
        pa.field("scores", LABELS),  # finding -> score of the network; null where it has no zero-shot scores
        pa.field("labels", LABELS),  # finding -> 1 present, 0 absent, -1 uncertain, of the archive or the report
    ],
    metadata={"table": "scored", "version": "1"},
)


def findings_of(dataset: EvaluationDataset) -> dict[str, str]:
    """The findings that a network is asked for, with their words: the dataset's, or those that reports are read for."""
    if dataset.queries:
        return dataset.queries
    known = entities_of({name: name for name in CHEXPERT_14})
    return {name: name for name, entity in known.items() if entity in ENTITIES}


def describe_images(predictions: Predictions, image_ids: Sequence[str], log: Callable[[str], object]) -> pa.Table:
    """The rows of SCORED of those images that the dataset has, in the order of their ids."""
    dataset = predictions.dataset
    everything = dataset.images(None)
    wanted = pc.is_in(pa.array(everything.image_ids, pa.string()), pa.array(image_ids, pa.string()))
    images = everything.select(wanted.to_numpy(False))
    if len(images) < len(image_ids):
        log(f"{len(image_ids) - len(images)} images that were scored before are gone.")
    facts = study_facts(dataset, images)
    grey, contrast = measure_grey_levels(images)
    splits = dataset.reader.columns(None, ["split"])["split"]
    columns = {
        "image_id": pa.array(images.image_ids, pa.string()),
        "patient": np.unique(images.subjects.astype(str), return_inverse=True)[1].astype(np.int32),
        "split": splits.take(pa.array(images.rows)),
        **{name: facts[name] for name in FACTS},
        "grey": grey,
        "contrast": contrast,
        "scores": score_images(predictions, images, log),
        "labels": read_labels(dataset, images),
    }
    return pa.table(columns).select(SCORED.names).cast(SCORED)


def number_patients(tables: Sequence[pa.Table]) -> np.ndarray:
    """(rows,) numbers of the patients of tables of SCORED, each of which counts its own from zero."""
    found, first = [], 0
    for table in tables:
        numbers = table["patient"].to_numpy().astype(np.int64)
        found.append(first + numbers)
        first += 1 + int(numbers.max(initial=-1))
    return np.concatenate(found)


def measure_grey_levels(images: Images) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the grey levels of each square, (images,) float32."""
    means, deviations = (np.empty(len(images), np.float32) for _ in range(2))
    for start in range(0, len(images), BLOCK):
        part = slice(start, start + BLOCK)
        pixels = images.pixels[part].reshape(-1, images.pixels[:1].size).astype(np.float32)
        means[part], deviations[part] = pixels.mean(axis=1), pixels.std(axis=1)
    return means, deviations


def score_images(predictions: Predictions, images: Images, log: Callable[[str], object]) -> pa.Array:
    """Maps of finding -> zero-shot score; null where the method has none."""
    from evaluation.inference import predict_batches

    findings, nothing = predictions.dataset.queries, pa.nulls(len(images), LABELS)
    if not findings or not len(images):
        return nothing
    predictions.expect_weights()
    method = predictions.method
    texts = predictions.dataset.query_texts(method.query_kind)
    try:
        (scores,) = predict_batches(method, images.pixels, lambda batch: [method.zero_shot(batch, texts).scores])
    except NotAvailableError as error:
        log(f"{predictions.run.name} has no zero-shot scores, so only inputs are followed: {error}")
        return nothing
    return label_maps(list(findings), scores)


def read_labels(dataset: EvaluationDataset, images: Images) -> pa.Array:
    """Maps of finding -> label: those of the archive or, where an image has none, those that follow from its report."""
    stored = read_report_labels(dataset)
    said = [] if stored is None else [name for name in stored.column_names if name != "study_id"]
    names = sorted({*label_names(images.labels), *said})
    own = label_matrix(images.labels, names)
    reported = np.full(own.shape, np.nan, np.float32)
    if stored is not None:
        places = pc.index_in(pa.array(images.study_ids, pa.string()), stored["study_id"].combine_chunks())
        known = places.is_valid().to_numpy(False)
        values = np.stack([stored[name].to_numpy() for name in said], axis=1)
        columns = [names.index(name) for name in said]
        reported[np.ix_(known, columns)] = values[places.drop_null().to_numpy()]
    silent = np.isnan(own).all(axis=1, keepdims=True)
    return label_maps(names, np.where(silent, reported, own))


def read_report_labels(dataset: EvaluationDataset) -> pa.Table | None:
    """The table `report_labels`; None where it was not made."""
    folder = dataset.workspace.folder("report_labels")
    plan = batches.read_plan(folder)
    return batches.read_batches(folder, plan) if plan.batches else None
