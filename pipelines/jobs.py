"""Jobs: everything from the archive to the results per method, the evaluation alone, and the nightly run."""

from __future__ import annotations

import dagster as dg

from assets.evaluated import TASKS_TAG
from assets.settings.evaluation import FRACTIONS_TAG
from models.registry import evaluated_names
from pipelines.catalogue import COHORTS, METHODS, WRITING
from tracking.runs import IMPORTED, NETWORK_TAG

AT_ONCE = ("zero_shot_classification", "zero_shot_grounding", "text_image_retrieval", "linear_probe")
SHARE = "0.1"  # of the labels; evaluate_<method> does everything


def pretrain_job(method: str) -> dg.UnresolvedAssetJobDefinition:
    """From the archive to the tables, with a part of the evaluation; what is up to date is not computed again."""
    evaluated = dg.AssetSelection.assets(dg.AssetKey(["evaluated", method]))
    return dg.define_asset_job(
        f"pretrain_{method}",
        selection=evaluated.upstream() | dg.AssetSelection.assets("rejects", "results", "tables"),
        tags={TASKS_TAG: ",".join(AT_ONCE), FRACTIONS_TAG: SHARE},
        description=f"Pretrain {method} on the dataset, from the archive to the tables. The training is most of it: "
        "minutes on two cores with the preset demo, a GPU for a day or longer with small_gpu and paper. What is up to "
        "date is not computed again.",
    )


def evaluate_job(method: str) -> dg.UnresolvedAssetJobDefinition:
    """The evaluation of the latest run, on its own cohort and on every downstream dataset."""
    name, tags = (method, {}) if method in METHODS else (IMPORTED, {NETWORK_TAG: method})
    keys = [["evaluated", name], ["downstream", name], *(["dataset", cohort] for cohort in COHORTS)]
    keys += [["simulated_archives"], ["leakage"], ["results"], ["tables"]]
    return dg.define_asset_job(
        f"evaluate_{method}",
        selection=dg.AssetSelection.assets(*map(dg.AssetKey, keys)),
        tags=tags,
        description=f"Evaluate the latest run of {method} on its own dataset and on every other with an archive, "
        "then rebuild the tables. Minutes on two cores with the preset demo; with paper, fine-tuning, detection and "
        "segmentation need a GPU. A number is computed once.",
    )


def monitor_job(method: str) -> dg.UnresolvedAssetJobDefinition:
    """What came since the last night, scored by the latest run, and its drift."""
    name, tags = (method, {}) if method in METHODS else (IMPORTED, {NETWORK_TAG: method})
    return dg.define_asset_job(
        f"monitor_{method}",
        selection=dg.AssetSelection.assets(dg.AssetKey(["monitored", name])),
        tags=tags,
        description=f"Score the studies that came after the training of {method} with its latest run, which is not "
        "trained again, and compare each night with the training data. A study is scored once.",
    )


def audit_job(method: str) -> dg.UnresolvedAssetJobDefinition:
    """The audit of the latest run, on its own dataset and on every other that is ready."""
    name, tags = (method, {}) if method in METHODS else (IMPORTED, {NETWORK_TAG: method})
    return dg.define_asset_job(
        f"audit_{method}",
        selection=dg.AssetSelection.assets(dg.AssetKey(["audited", name])),
        tags=tags,
        description=f"Audit the latest run of {method}: calibration, operating points, gaps between groups, "
        "shortcuts, shift, and a model card. It reads what evaluate_<method> predicted, and scores images again in "
        "which cues are painted over: minutes on two cores.",
    )


ingest = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.groups(*WRITING) - dg.AssetSelection.assets("graphs"),
    description="Bring studies, shards and their checks up to date with the archive; trains nothing. A new image is "
    "decoded once, on all cores; where nothing is new it takes seconds.",
)
import_checkpoint = dg.define_asset_job(
    "import_checkpoint",
    selection=dg.AssetSelection.assets(IMPORTED),
    description="Make a released file of weights a run of this home, for evaluate_<method>; takes seconds.",
)
monitoring = [monitor_job(name) for name in evaluated_names()]
audits = [audit_job(name) for name in evaluated_names()]
evaluations = [*map(evaluate_job, evaluated_names()), *audits, *monitoring]
jobs = [ingest, import_checkpoint, *map(pretrain_job, METHODS), *evaluations]
