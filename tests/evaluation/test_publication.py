import pyarrow as pa
import pytest

from evaluation.publication import OTHER, paper_tables, read_traps
from evaluation.published import read_published
from evaluation.tables import RESULTS

FOUR_PAPERS = ("LRCLR", "MGCA", "ConVIRT", "MedKLIP")
COMMON = {
    "checkpoint": "c",
    "mlflow_run": "run",
    "data_version": "d",
    "low": 0.7,
    "high": 0.9,
    "n": 5,
    "seed": 0,
    "source": "measured",
    "protocol": "",
    "note": "",
}


def row(method, cohort, task, setting, metric, value, name="macro", **more):
    names = {"method": method, "cohort": cohort, "task": task, "setting": setting, "metric": metric, "class": name}
    return {**COMMON, **names, "value": value, **more}


def built(*rows):
    return {(table.paper[:5], table.title): table for table in paper_tables(pa.Table.from_pylist(list(rows), RESULTS))}


def lines(table, **names):
    return [line for line in table.lines if all(getattr(line, name) == value for name, value in names.items())]


def test_every_number_of_the_four_papers_is_in_a_table():
    tables = paper_tables(RESULTS.empty_table())
    shown = sum(len(table.lines) for table in tables)
    assert shown == sum(number.source.startswith(FOUR_PAPERS) for number in read_published())
    assert [line for table in tables for line in table.lines if line.measured or line.difference is not None] == []


def test_measured_stands_beside_published_with_their_difference():
    table = built(row("mgca", "chexpert", "linear_probe", "1 %", "auroc", 0.8))[
        "MGCA ", "Table 1: linear classification"
    ]
    found = lines(table, method="mgca", cohort="chexpert", setting="1 %", metric="auroc")
    assert [line.printed for line in found] == ["MGCA (ResNet-50), ResNet-50", "MGCA (ViT-B/16), ViT-B/16"]
    resnet = found[0]
    assert resnet.published == pytest.approx(0.876)
    assert resnet.difference == pytest.approx(0.8 - 0.876)
    assert (resnet.measured.low, resnet.measured.high, resnet.measured.runs) == (0.7, 0.9, ("run",))
    remarks = [table.remarks[place] for place in resnet.notes]
    assert any("official validation set" in remark for remark in remarks)
    assert any("two backbones" in remark for remark in remarks)
    assert "Published: pretrained on MIMIC-CXR." in remarks
    assert sum(line.measured is not None for line in table.lines) == 2


def test_the_untrained_network_is_the_papers_random_one():
    rows = [
        row(f"untrained:{name}", "rsna_pneumonia", "linear_probe", "100 %", "auroc", 0.6)
        for name in ("mgca", "convirt")
    ]
    tables = built(*rows)
    for key in (("MGCA ", "Table 1: linear classification"), ("ConVI", "Linear classification")):
        (line,) = [line for line in tables[key].lines if line.printed.startswith("Random") and line.measured]
        assert line.measured.value == 0.6


def test_methods_that_a_paper_does_not_have_follow_it():
    table = built(
        row("medklip", "chexpert", "linear_probe", "1 %", "auroc", 0.8),
        row("medklip", "chexpert", "linear_probe", "1 %", "auroc", 0.8, name="Edema"),
        row("medklip", "chexpert", "linear_probe", "1 %", "f1", 0.8),
        row("medklip", "phantom", "linear_probe", "1 %", "auroc", 0.8),
    )
    probe = table["MGCA ", "Table 1: linear classification"]
    (line,) = lines(probe, method="medklip")
    assert (line.cohort, line.published, line.difference, line.printed) == ("chexpert", None, None, "")
    others = {(line.cohort, line.metric) for line in table[OTHER[:5], "Everything else that was measured"].lines}
    assert others == {("phantom", "auroc"), ("chexpert", "f1")}


def test_tables_without_published_numbers_say_so_and_show_ours():
    table = built(row("medklip", "edema_severity", "grading", "100 %", "auroc", 0.7, name="level 1"))
    grading = table["MedKL", "Grading of edema severity"]
    assert "No number of this table is in the text at hand." in grading.notes
    assert [(line.class_name, line.published) for line in grading.lines] == [("level 1", None)]


def test_printed_f1_stands_beside_the_rule_it_was_printed_with():
    rows = [
        row("medklip", "chestxray14", "zero_shot_classification", "zero-shot", metric, 0.3)
        for metric in ("f1", "f1_by_test_f1")
    ]
    table = built(*rows)["MedKL", "Zero-shot classification of seen diseases"]
    (printed,) = lines(table, method="medklip", metric="f1_by_test_f1")
    assert printed.published == pytest.approx(0.2525)
    (ours,) = lines(table, method="medklip", metric="f1")
    assert ours.published is None


def test_classes_are_matched_whatever_their_spelling():
    rows = [
        row("medklip", "chestxray14", "zero_shot_classification", "zero-shot", "auroc", 0.7, name="Pleural Thickening")
    ]
    table = built(*rows)["MedKL", "The 14 diseases of ChestX-ray14"]
    (line,) = [line for line in table.lines if line.measured]
    assert line.difference == pytest.approx(0.7 - line.published)


def test_a_published_difference_stands_beside_a_difference():
    rows = [
        row(method, "chexpert", "zero_shot_classification", "zero-shot", "auroc", value, name="Fracture", seed=seed)
        for method, value, seed in [("lrclr", 0.7, 0), ("chexzero", 0.6, 0), ("lrclr", 0.9, 1)]
    ]
    table = built(*rows)["LRCLR", "Figure 3: per finding, LRCLR minus CheXzero"]
    (line,) = [line for line in table.lines if line.measured and line.published is not None]
    assert line.measured.value == pytest.approx(0.1)
    assert line.measured.low is None
    assert line.published == pytest.approx(0.272)


def test_seeds_become_mean_and_deviation():
    rows = [
        row("mgca", "covidx", "linear_probe", "1 %", "accuracy", value, seed=seed, mlflow_run=f"run {seed}")
        for seed, value in enumerate([0.5, 0.6, 0.7, None])
    ]
    table = built(*rows)["MGCA ", "Table 6: error bars"]
    (line,) = lines(table, cohort="covidx", setting="1 %")
    assert (line.measured.value, line.measured.deviation) == (pytest.approx(0.6), pytest.approx(0.1))
    assert (line.measured.seeds, line.measured.low) == (3, None)
    assert len(line.measured.runs) == 4


def test_frozen_and_tuned_encoders_are_not_mixed():
    for setting in ("1 %, tuned", "tuned 1 %"):
        table = built(row("mgca", "rsna_pneumonia", "segmentation", setting, "dice", 0.5))
        line, *others = lines(table["MGCA ", "Table 3: semantic segmentation"], cohort="rsna_pneumonia", method="mgca")
        assert line.measured is None
        assert [other.setting for other in others if other.measured] == [setting]
    table = built(row("mgca", "rsna_pneumonia", "segmentation", "1 %, frozen", "dice", 0.5))
    line = lines(table["MGCA ", "Table 3: semantic segmentation"], cohort="rsna_pneumonia", method="mgca")[0]
    assert line.measured.value == 0.5


def test_what_cannot_be_scored_is_a_line_without_a_value():
    table = built(row("mgca", "covidx", "linear_probe", "1 %", "accuracy", None, low=None, high=None))
    found = [line for line in table["MGCA ", "Table 6: error bars"].lines if line.measured]
    assert [(line.measured.value, line.difference) for line in found] == [(None, None)]


def test_published_rows_among_the_results_are_not_measured():
    published = row("mgca", "covidx", "linear_probe", "1 %", "accuracy", 0.7, source="MGCA NeurIPS 2022, Table 1")
    assert not any(line.measured for table in built(published).values() for line in table.lines)


def test_every_trap_says_what_is_done_instead():
    assert len(read_traps()) >= 14
    assert all(trap and instead for trap, instead in read_traps())
