"""benchmarks/mutated_checkpoints.py in small: no file runs anything, and each is opened or refused in one sentence."""

from __future__ import annotations

import pytest

from benchmarks import mutated_checkpoints
from benchmarks.mutated_checkpoints import MUTATIONS, failures, run


def test_damaged_and_hostile_files_are_opened_or_refused(tmp_path):
    found = run(10 * len(MUTATIONS), 3, tmp_path)
    assert failures(found) == []
    assert {text.partition(",")[0].partition(":")[0] for text in found} == {one.__name__ for one in MUTATIONS}


def test_the_files_are_good_before_they_are_changed(tmp_path, monkeypatch):
    def nothing(content, rng, mark):
        return content

    monkeypatch.setattr(mutated_checkpoints, "MUTATIONS", (nothing,))
    assert run(6, 0, tmp_path) == {"nothing: opened": 6}


@pytest.mark.parametrize("error", [ValueError("x"), None])
def test_a_reader_that_fails_or_runs_what_is_in_a_file_is_found(tmp_path, monkeypatch, error):
    """A fault planted in the product."""

    def careless(path, name, texts):
        import torch

        if error:
            raise error
        return torch.load(path, weights_only=False)

    monkeypatch.setattr(mutated_checkpoints, "open_file", careless)
    monkeypatch.setattr(mutated_checkpoints, "MUTATIONS", (mutated_checkpoints.programs,))
    found = run(12, 0, tmp_path)
    assert any(("ValueError" if error else "a program ran") in text for text in failures(found))
