"""Facts of images in their order, from the table of studies."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohorts.tables import FACTS
from evaluation.errors import EvaluationError
from evaluation.metrics.facts import study_facts
from evaluation.metrics.units import ALL
from store.seals import write_sealed_table
from tests.evaluation.test_dataset import build, image

__all__ = ["build"]


def test_facts_are_in_the_order_of_the_images(build):
    told = {"date": "2180-05-06", "sex": "F", "age": 61.5, "device": "a maker", "site": "a ward", "laterality": "L"}
    data = build(image(0, **told), image(1, view="LATERAL"), image(2, view=""), image(3, split="train", sex="M"))
    facts = study_facts(data, data.of_view(ALL).images("test").select(np.array([2, 0, 1])))
    nothing = dict.fromkeys(told)
    assert facts.to_pylist() == [
        {"kind": "unknown", "view": "", **nothing},
        {"kind": "frontal", "view": "PA", **told},
        {"kind": "lateral", "view": "LATERAL", **nothing},
    ]
    assert facts.schema.field("age").type == pa.float32()
    assert study_facts(data, data.images("train"))["sex"].to_pylist() == ["M"]
    assert study_facts(data, data.images("validate")).num_rows == 0


def test_tables_of_older_homes_have_no_facts(build):
    data = build(image(0, sex="F"))
    path = data.workspace.folder("studies") / "studies.parquet"
    write_sealed_table(pq.read_table(path).drop_columns([field.name for field in FACTS]), path)
    facts = study_facts(data, data.images("test"))
    assert (facts["kind"].to_pylist(), facts["sex"].to_pylist()) == (["frontal"], [None])


def test_an_image_without_facts_is_named(build):
    data = build(image(0), image(1))
    path = data.workspace.folder("studies") / "studies.parquet"
    write_sealed_table(pq.read_table(path).slice(1), path)
    with pytest.raises(EvaluationError, match=r"Image i0 is not in studies\.parquet"):
        study_facts(data, data.images("test"))
