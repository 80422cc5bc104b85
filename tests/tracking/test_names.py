"""Every label becomes a name that MLflow takes, and no two labels the same one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from tracking.names import LONGEST, metric_name

LABELS = st.text(max_size=30) | st.sampled_from(["", ".", "..", "/", "a//b", "../x", "?", "a\n", "x" * 300, "+(%)"])


@given(st.lists(LABELS, unique=True, max_size=20))
def test_mlflow_takes_the_name_of_any_label(labels):
    names = [metric_name(f"chexpert/probe/auroc/{label}") for label in labels]
    for name in names:
        _validate_metric_name(name)
        assert len(name) <= LONGEST
    assert len(set(names)) == len(labels)


def test_a_name_that_mlflow_takes_stays():
    for name in ("train/loss", "phantom/linear_probe/10pct/auroc/Pleural Effusion", "a/COVID-19: é.1", "x" * LONGEST):
        assert metric_name(name) == name


def test_a_name_that_is_changed_can_be_recognised_and_is_always_the_same():
    assert metric_name("probe/auroc/Edema (mild)?") == "probe/auroc/Edema _mild__-63b90953"
    assert metric_name("probe/auroc/..").startswith("probe/auroc/_-")
    assert metric_name("y" * 251).startswith("y" * 241 + "-")
