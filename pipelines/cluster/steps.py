"""Which steps of a run go to workers."""

DATASETS = "dataset__"  # of an evaluation: the process of the run ingests them


def is_batch(step_key: str) -> bool:
    """Whether a step is one of many alike that Dagster made of the plan of a stage; a worker executes it."""
    return "[" in step_key and not step_key.startswith(DATASETS)


def plans_batches(step_key: str) -> bool:
    """Whether the outputs of a step that are mapped go to workers."""
    return not step_key.startswith(DATASETS)
