"""What a run shows in MLflow, and under which names.

MLflow makes a section of charts of every folder in the names of metrics and sorts the sections by name. It sorts
parameters by name as well. Hence `downstream/`, `loss/`, `results/`, `terms/`, `training/`, `usage/`, and parameters
that are rarely changed behind `setting.`.
"""

from __future__ import annotations

LOSS, DOWNSTREAM = "loss", "downstream"
PARTS = ("train", "validation")
MACHINE = ("samples_per_second", "data_wait", "utilisation", "memory_gb", "gpu_memory_gb")

# The leading metrics of every method beside the losses: number of an evaluation on the dataset of the training -> name.
RESULTS = {
    "zero_shot_classification/auroc/macro": "results/auroc_zero_shot",
    "linear_probe/1pct/auroc/macro": "results/auroc_linear_probe_1pct",
    "linear_probe/100pct/auroc/macro": "results/auroc_linear_probe_100pct",
    "zero_shot_grounding/pointing_game/macro": "results/pointing_game",
    "phrase_grounding/contrast_to_noise/macro": "results/contrast_to_noise",
    "image_image_retrieval/precision_at_5/macro": "results/precision_at_5_image_to_image",
    "text_image_retrieval/precision_at_5/macro": "results/precision_at_5_text_to_image",
    "image_report_retrieval/recall_at_1/macro": "results/recall_at_1_image_to_report",
}
# What versions of a model are compared by: the first of these that was measured.
RANKED = ("results/auroc_zero_shot", "results/auroc_linear_probe_100pct", "results/auroc_linear_probe_1pct")
LEADING = (f"{LOSS}/train", f"{LOSS}/validation", *RESULTS.values())

# What tells runs from each other; all other parameters are behind `setting.`.
IDENTIFYING = ("batch_size", "cohort", "epochs", "input_size", "learning_rate", "max_steps", "method", "preset", "seed")

KIND_TAG, NOTE_TAG = "mlflow.experimentKind", "mlflow.note.content"
KIND = "custom_model_development"  # a model that is trained; else MLflow's pages expect prompts and traces
DESCRIPTION = """\
One run for every training of Radalign: a method, a dataset (cohort), a seed and settings. A run that was interrupted \
and resumed is one run. Names that begin with *failed:* or *stopped:* have no trained network.

| metric | meaning |
| --- | --- |
| `loss/train`, `loss/validation` | the whole loss; comparable between runs of one method only |
| `results/auroc_zero_shot` | zero-shot classification, test images, mean over the findings |
| `results/auroc_linear_probe_1pct` | linear probe, trained on 1 % of the labels |
| `results/auroc_linear_probe_100pct` | linear probe, trained on all labels |
| `results/pointing_game` | zero-shot grounding: how often the maximum of the heat map is inside the annotated region |
| `results/contrast_to_noise` | grounding of the sentences of reports |
| `results/precision_at_5_image_to_image` | share of the first 5 images found that have the finding of the query image |
| `results/precision_at_5_text_to_image` | the same, for a query of text |
| `results/recall_at_1_image_to_report` | how often the first report found is that of the image |
| `downstream/…` | the leading number of each task and setting on another dataset |
| `terms/…` | the weighted terms of the loss, which each method has its own of |
| `training/…` | learning rate, norm of the gradient, epoch, and what the method reports |
| `usage/…` | speed, waiting for data, memory |

Results are those of the trained network on the dataset that it was trained on. The artifact `numbers.csv` of a run \
has every number: of all datasets, settings and labels, and of the untrained network. The same numbers with their \
intervals are in `results/` of the home.

Parameters behind `setting.` are those that are rarely changed; *Show diff only* hides what all runs share.
"""
TAGS = {KIND_TAG: KIND, NOTE_TAG: DESCRIPTION}  # of the experiment
COLUMNS = [*(f"metrics.`{name}`" for name in LEADING), "params.`method`", "params.`cohort`", "params.`seed`"]


def step_metric(name: str) -> str:
    """What a metric of `metrics.jsonl` is called in MLflow: loss/train, terms/train_local, usage/memory_gb."""
    part, _, rest = name.partition("/")
    if part in PARTS and rest == "loss":
        return f"{LOSS}/{part}"
    if part in PARTS and rest.startswith("loss_"):
        return f"terms/{part}_{rest.removeprefix('loss_')}"
    return f"usage/{name}" if name in MACHINE else f"training/{name}"


def parameter(name: str) -> str:
    """What a parameter of a training is called in MLflow."""
    return name if name in IDENTIFYING else f"setting.{name}"


def downstream_metric(number: str) -> str:
    """What the leading number of a task on another dataset is called: downstream/rsna_pneumonia_detection_1pct_map."""
    return f"{DOWNSTREAM}/{number.removesuffix('/macro').replace('/', '_')}"


def run_address(mlflow: str, experiment: str, run: str) -> str:
    """The page of a run where MLflow is served at `mlflow`, as a training."""
    return f"{mlflow.rstrip('/')}/#/experiments/{experiment}/runs/{run}?workflowType=machine_learning"


def runs_page(experiment: str) -> str:
    """The table of all trainings: the part of an address behind the `#`."""
    return f"/experiments/{experiment}/runs?workflowType=machine_learning"
