"""What the archive says of the images that are scored: who and when, by which device, from which side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohorts.tables import FACTS
from evaluation.dataset import expect_table
from evaluation.errors import EvaluationError
from imaging.dicom.views import kind_of_view

if TYPE_CHECKING:
    from evaluation.dataset import EvaluationDataset, Images


def study_facts(dataset: EvaluationDataset, images: Images) -> pa.Table:
    """What the archive says of each of the images, in their order.

    `kind` is the kind of its view, of imaging.dicom.views.KINDS. `view` and the columns of cohorts.tables.FACTS are as
    in the table `studies`, null where the archive says nothing. EvaluationError names an image that the table does not
    have.
    """
    path = expect_table(dataset.workspace, "studies")
    wanted = pa.schema([pa.field("view", pa.string()), *FACTS])
    present = pq.read_schema(path).names  # tables of older homes have no facts
    names = [name for name in wanted.names if name in present]
    studies = pq.read_table(path, columns=["image_id", *names])
    places = pc.index_in(pa.array(images.image_ids, pa.string()), studies["image_id"].combine_chunks())
    if places.null_count:
        name = images.image_ids[places.is_null().to_numpy(False).argmax()]
        raise EvaluationError(f"Image {name} is not in {path.name}; rebuild the shards from it.")
    found = studies.select(names).take(places)
    columns = [
        found[field.name].combine_chunks().cast(field.type)
        if field.name in names
        else pa.nulls(len(images), field.type)
        for field in wanted
    ]
    kinds = [kind_of_view(view) for view in columns[0].to_pylist()]
    return pa.table([pa.array(kinds, pa.string()), *columns], ["kind", *wanted.names])
