"""Which version of a model is the best."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tracking.model_versions import choose_best

ZERO_SHOT, PROBE = "results/auroc_zero_shot", "results/auroc_linear_probe_100pct"


class Registry:
    """The part of MLflow's client that is asked: versions 1, 2, ... of one model, and the metrics of their runs."""

    def __init__(self, metrics, lost=()):
        self.metrics, self.lost, self.best = metrics, lost, None

    def search_model_versions(self, where):
        return [
            SimpleNamespace(name="mgca-phantom", version=str(number + 1), run_id=str(number))
            for number in range(len(self.metrics))
        ]

    def list_artifacts(self, run_id, folder):
        return [] if int(run_id) in self.lost else ["MLmodel"]

    def get_run(self, run_id):
        return SimpleNamespace(data=SimpleNamespace(metrics=self.metrics[int(run_id)]))

    def set_registered_model_alias(self, name, alias, version):
        assert (name, alias) == ("mgca-phantom", "best")
        self.best = version


@pytest.mark.parametrize(
    ("metrics", "best"),
    [
        ([{ZERO_SHOT: 0.7}, {ZERO_SHOT: 0.9}, {ZERO_SHOT: 0.8}], "2"),
        ([{ZERO_SHOT: 0.7}, {ZERO_SHOT: 0.7}], "1"),  # the older of equal ones: a number in a report stays true
        ([{PROBE: 0.9}, {ZERO_SHOT: 0.6, PROBE: 0.1}], "2"),
        ([{PROBE: 0.8}, {PROBE: 0.9}, {}], "2"),
        ([{}, {"loss/train": 1.0}], None),
        ([{ZERO_SHOT: float("nan")}, {ZERO_SHOT: 0.6}], "2"),
    ],
)
def test_the_best_is_that_with_the_best_leading_number(metrics, best):
    registry = Registry(metrics)
    choose_best(registry, "0")
    assert registry.best == best


def test_a_version_whose_files_are_lost_is_not_chosen():
    registry = Registry([{ZERO_SHOT: 0.7}, {ZERO_SHOT: 0.9}], lost={1})
    choose_best(registry, "0")
    assert registry.best == "1"
