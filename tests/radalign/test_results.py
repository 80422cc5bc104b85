"""`radalign results`: all cohorts of a home, the newest first, in a terminal of 100 columns or as a table."""

from __future__ import annotations

import pandas as pd
import pytest

from radalign.command import main
from tests.evaluation.tables.home_of_results import METHODS, build_home

WIDTH = 100


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> str:
    return build_home(tmp_path_factory.mktemp("home")).home


@pytest.fixture
def results(home, capsys, monkeypatch):
    """What the command prints, by line, and its exit status."""
    monkeypatch.setenv("RADALIGN_COHORT", "phantom")  # which has no part in it

    def run(*options):
        status = main(["results", "--home", home, *options])
        return capsys.readouterr(), status

    return run


def test_every_cohort_has_a_headline_and_the_newest_is_first(results):
    lines = results()[0].out.splitlines()
    assert lines[0].startswith("chexzero, pretrained on mimic_cxr in 2 min 5 s, 20")
    assert lines[2].startswith("chexzero, pretrained on phantom (simulated) in 2 min 5 s, 20")
    assert (lines[1], lines[3]) == (
        "  zero-shot AUROC 0.600 [0.594, 0.606], untrained 0.500 [0.495, 0.506]",
        "  zero-shot AUROC 0.800 [0.795, 0.805], untrained 0.500 [0.495, 0.506]",
    )
    heads = [line for line in lines if line.startswith("== ")]
    assert [head.strip("= ") for head in heads] == ["Pretrained on mimic_cxr", "Pretrained on phantom (simulated)"]


def test_six_methods_on_two_cohorts_fit_a_terminal_and_nothing_is_cut(results, home):
    text = results()[0].out
    assert max(len(line) for line in text.splitlines() if home not in line) <= WIDTH
    for number in ("0.600 [0.594, 0.606]", "0.700 [0.694, 0.705]", "0.800 [0.795, 0.805]", "0.900 [0.895, 0.906]"):
        assert number in text
    assert text.count("…") == 0


def test_every_table_says_whose_numbers_it_has(results):
    titles = [line for line in results()[0].out.splitlines() if " · " in line]
    assert {title.rpartition(" · ")[2] for title in titles} == {"pretrained on mimic_cxr", "pretrained on phantom"}
    assert any(line.startswith("chexpert · linear_probe · 1 % · simulated · pretrained on phantom") for line in titles)


def test_the_archive_of_each_cohort_is_named(results, home):
    assert f"Archive: {home}/phantom/archive" in results()[0].out


def test_one_cohort_can_be_chosen_and_a_wrong_one_is_one_sentence(results):
    text = results("--cohort", "mimic_cxr")[0].out
    assert "pretrained on phantom" not in text
    printed, status = results("--cohort", "open_i")
    assert (printed.out, status) == ("", 1)
    assert "No network was pretrained on open_i" in printed.err
    assert printed.err.rstrip().endswith("Networks were pretrained on mimic_cxr, phantom.")
    assert results("--cohort", "mimic")[1] == 1


def test_the_table_names_the_cohort_of_the_pretraining(results, tmp_path):
    results("--csv", str(tmp_path / "all.csv"))
    table = pd.read_csv(tmp_path / "all.csv")
    counts = table[table["class"] == "macro"].groupby("pretraining")["method"].nunique()
    assert counts.to_dict() == {"mimic_cxr": 2 * len(METHODS), "phantom": 2 * len(METHODS)}


def test_a_home_without_a_training_says_what_to_do(tmp_path, capsys):
    assert main(["results", "--home", str(tmp_path)]) == 1
    assert "radalign pretrain" in capsys.readouterr().err
