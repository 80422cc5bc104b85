"""Printed numbers are counted once, and what stands beside them is something that can be run."""

from __future__ import annotations

import json

import pytest

from benchmarks import coverage
from benchmarks.coverage import choose_numbers, cover, describe, explain_data, explain_network, summarise
from evaluation.tables.published import _read_names, explain_missing, find_counterpart, read_published
from models.registry import method_names, own_variant


def numbers_of(source, method):
    return [number for number in read_published() if number.source.startswith(source) and number.method == method]


def test_the_four_papers_print_429_numbers_and_all_but_three_percent_are_named():
    chosen = choose_numbers()
    assert len(chosen) == 429
    named = [number for number in chosen if find_counterpart(number)]
    assert len(named) >= 0.97 * 429
    assert all(explain_missing(number) for number in chosen if number not in named)
    assert {cover(number).reason for number in chosen} >= {
        "The prose gives the best earlier number and does not name its method."
    }


@pytest.mark.parametrize("part", ["methods", "without"])
def test_every_name_is_printed_somewhere(part):
    printed = {(number.source, number.method) for number in read_published()}
    named = {(source, method) for source, names in _read_names()[part].items() for method in names}
    unused = {(source, method) for source, method in named - printed if "model card" not in source}
    assert unused == set()


def test_a_system_without_pretraining_is_named_with_its_encoder_as_its_results_are():
    counterparts = {name for number in read_published() for name in (find_counterpart(number) or "").split(" - ")}
    named = {name.partition(":")[0]: name for name in counterparts}
    carried = {method: f"{method}:{variant}" for method in method_names() if (variant := own_variant(method, {}))}
    assert carried == {method: named[method] for method in carried} != {}


def test_a_network_can_be_run_where_its_method_and_its_preset_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(coverage, "VARIANTS", tmp_path)
    assert explain_network("mgca") == explain_network("untrained:mgca") == explain_network("gloria:released") == ""
    assert explain_network("mgca:ITA") == "There is no preset of the variant ITA of mgca."
    (tmp_path / "mgca").mkdir()
    (tmp_path / "mgca" / "ITA.yaml").touch()
    assert explain_network("mgca:ITA") == ""
    assert explain_network("mgcc") == "There is no method mgcc."
    assert explain_network("medclip:released-swin") == ""
    assert explain_network("mgcc:released") == "Released weights of mgcc cannot be imported."


def test_every_network_that_is_named_can_be_run():
    counterparts = {name for number in read_published() for name in (find_counterpart(number) or "").split(" - ")}
    assert {name: explain_network(name) for name in counterparts if name and explain_network(name)} == {}


def test_both_networks_of_a_difference_are_looked_for(monkeypatch):
    number = numbers_of("LRCLR", "CheXzero + LRCLR minus CheXzero")[0]
    assert cover(number).reason == ""
    monkeypatch.setattr(coverage, "method_names", lambda: ["lrclr"])
    assert cover(number).reason == "There is no method chexzero."


def test_data_that_nobody_reads_has_no_counterpart():
    grounding, inference = (
        numbers_of("BioViL model", name)[0] for name in ("GLoRIA", "CXR-BERT after the joint stage")
    )
    assert explain_data(grounding) == ""
    assert explain_data(inference) == "There is no dataset RadNLI."
    shared = next(one for one in read_published() if one.setting == "linear 1%" and one.source.startswith("LoVT"))
    assert explain_data(shared) == "The task segmentation has no setting linear 1%."
    written = next(one for one in read_published() if (one.dataset, one.task) == ("IU X-ray", "report generation"))
    assert explain_data(written) == "There is no task report generation."


def test_counts_add_up_and_are_said(capsys):
    found = [cover(number) for number in choose_numbers()]
    summary = summarise(found)
    missing = sum(one["numbers"] for one in summary["without"])
    assert summary["numbers"] == 429 == summary["with_counterpart"] + missing
    assert sum(counts["numbers"] for counts in summary["sources"].values()) == 429
    assert f"{summary['with_counterpart']} of 429 numbers" in describe(found)
    coverage.main(["--json", "--every-source"])
    everything = json.loads(capsys.readouterr().out)
    assert everything["numbers"] == len(read_published())
