"""Which labels of a cohort a network can be asked about."""

import numpy as np
import pyarrow as pa

from cohorts.labels import label_maps
from cohorts.tables import STUDIES
from evaluation.dataset import classes_of
from store.atomic import write_table


def test_labels_of_any_data_set_find_their_observation(workspace):
    names = ["Pleural Effusion", "Infiltration", "No Finding", "Support Devices", "effusion", "COVID-19", "Left hip"]
    row = {name: "x" for name in ("cohort", "subject_id", "study_id", "image_id", "image_path", "view", "split")}
    table = pa.Table.from_pylist([row], schema=STUDIES)
    labels = label_maps(names, np.ones((1, len(names)), np.float32))
    table = table.set_column(table.column_names.index("labels"), STUDIES.field("labels"), labels)
    write_table(table, workspace.folder("studies") / "studies.parquet")
    assert classes_of(workspace) == {
        "Infiltration": "infiltrate",
        "No Finding": "normal",
        "Pleural Effusion": "effusion",
        "Support Devices": "device",
        "effusion": "effusion",
    }
