"""Trained systems beside their starts: seeds are counted, and neither repeats nor the datasets of a pool."""

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import starts
from evaluation.metrics.values import MACRO
from evaluation.results.resamples import KEY
from ingestion.workspace import Workspace


@pytest.fixture
def home(tmp_path, monkeypatch) -> Workspace:
    """Two seeds, two repeats of each, on two datasets; the untrained network has .5 throughout."""
    rows, resamples = [], {}
    for method, values in (("convirt", (0.8, 0.6)), ("untrained:convirt", (0.5, 0.5))):
        for cohort, lower in (("chexpert", 0.0), ("open_i", 0.1)):
            for seed, value in enumerate(values):
                for repeat in (0, 1):
                    named = (method, "digest", cohort, "data", "linear_probe", "10 %", seed, repeat, "auroc", MACRO)
                    rows.append({**dict(zip(KEY, named, strict=True)), "value": value - lower + 0.02 * repeat})
                    resamples[named] = np.full(8, value - lower + 0.02 * repeat)
    monkeypatch.setattr(starts, "latest_results", lambda workspace: pa.Table.from_pylist(rows))
    monkeypatch.setattr(starts, "read_resamples", lambda results, metrics, class_name: resamples)
    return Workspace(home=str(tmp_path))


def test_seeds_are_counted_and_datasets_have_rows_of_their_own(home):
    first, second = starts.list_rows(home)
    spread = f"{np.std([0.8, 0.6], ddof=1):.3f}"
    assert first[:4] == ("convirt", "10 % probe AUROC, chexpert", "2", f"0.710 ± {spread} [0.710, 0.710]")
    assert second[:4] == ("convirt", "10 % probe AUROC, open_i", "2", f"0.610 ± {spread} [0.610, 0.610]")
    assert first[4] == "0.510 ± 0.000 [0.510, 0.510]"
    assert first[5] == second[5].replace("+0.100", "+0.200") == "+0.200 [+0.200, +0.200]"
    assert first[6] == second[6] == "yes"


def test_the_gain_is_of_the_same_resamples():
    resampled = np.linspace(0.2, 0.8, 101)
    start = starts.Measured(np.array([0.5]), resampled)
    trained = starts.Measured(np.array([0.55]), resampled + 0.05)
    assert trained.say_gain(start) == "+0.050 [+0.050, +0.050]"
    assert trained.interval[0] < start.interval[1]


def test_a_seed_whose_start_was_not_measured_does_not_count():
    place, repeated, later, other = (0, 0, "data"), (0, 1, "data"), (1, 0, "data"), (2, 0, "other")
    one, two = (0.8, np.full(8, 0.8)), (0.6, np.full(8, 0.6))
    trained = {place: one, repeated: two, later: two, other: two}
    start = {place: two, repeated: two, (2, 0, "data"): two}
    found = starts.join_seeds(trained, start)
    assert [[value for value, _ in seeds] for seeds in found] == [[pytest.approx(0.7)], [pytest.approx(0.6)]]
    assert starts.join_seeds(trained, {}) == [[], []]
