import pyarrow as pa
import pytest

from evaluation.results.schema import RESULTS
from evaluation.tables.paper_tables import OTHER, _find_published, build_tables, read_papers
from evaluation.tables.published import read_published, to_row

FOUR_PAPERS = ("LRCLR", "MGCA", "ConVIRT", "MedKLIP")
RERUNS = {("MAVL CVPR 2024, repository README", "README zero-shot table")} | {
    ("BenchX arXiv:2410.21969", f"Table {number}") for number in (1, 3, 5)
}
CARDS = ("BioViL model card", "BioViL-T model card")  # their numbers of MS-CXR
COMMON = {
    "checkpoint": "c",
    "mlflow_run": "run",
    "data_version": "d",
    "low": 0.7,
    "high": 0.9,
    "n": 5,
    "seed": 0,
    "repeat": 0,
    "source": "measured",
    "protocol": "",
    "note": "",
    "simulated": False,
}
OTHERS = (OTHER[:5], "Linear probe")


def row(method, cohort, task, setting, metric, value, name="macro", **more):
    names = {"method": method, "cohort": cohort, "task": task, "setting": setting, "metric": metric, "class": name}
    return {**COMMON, **names, "value": value, **more}


def built(*rows):
    return of_pretrainings(toy=rows)


def of_pretrainings(**rows):
    """The tables of networks that were pretrained on each cohort."""
    results = {cohort: pa.Table.from_pylist(list(some), RESULTS) for cohort, some in rows.items()}
    return {(table.paper[:5], table.title): table for table in build_tables(results)}


def lines(table, **names):
    return [line for line in table.lines if all(getattr(line, name) == value for name, value in names.items())]


def test_every_number_of_the_four_papers_is_in_a_table():
    tables = build_tables({"toy": RESULTS.empty_table()})
    shown = sum(len(table.lines) for table in tables)
    wanted = [
        number
        for number in read_published()
        if number.source.startswith(FOUR_PAPERS)
        or (number.source, number.table) in RERUNS
        or (number.source.startswith(CARDS) and number.dataset == "MS-CXR")
    ]
    assert shown == len(wanted)
    assert [line for table in tables for line in table.lines if line.measured or line.difference is not None] == []


def test_measured_stands_beside_published_with_their_difference():
    rows = [row(name, "chexpert", "linear_probe", "1 %", "auroc", 0.8) for name in ("mgca", "mgca:resnet50")]
    table = built(*rows)["MGCA ", "Table 1: linear classification"]
    (vit,) = lines(table, method="mgca", cohort="chexpert", setting="1 %", metric="auroc")
    (resnet,) = lines(table, method="mgca:resnet50", cohort="chexpert", setting="1 %", metric="auroc")
    assert [line.printed for line in (resnet, vit)] == ["MGCA (ResNet-50), ResNet-50", "MGCA (ViT-B/16), ViT-B/16"]
    assert vit.published == pytest.approx(0.888)
    assert resnet.published == pytest.approx(0.876)
    assert resnet.difference == pytest.approx(0.8 - 0.876)
    assert (resnet.measured.low, resnet.measured.high, resnet.measured.runs) == (0.7, 0.9, ("run",))
    remarks = [table.remarks[place] for place in resnet.notes]
    assert any("official validation set" in remark for remark in remarks)
    assert "Published: pretrained on MIMIC-CXR." in remarks
    assert sum(line.measured is not None for line in table.lines) == 2


def test_initialisations_stand_beside_the_papers_and_the_starts_of_methods_do_not():
    names = ("random:resnet50", "imagenet:resnet50", "untrained:mgca", "untrained:convirt")
    tables = built(
        *(
            row(name, "rsna_pneumonia", "linear_probe", "100 %", "auroc", 0.5 + place / 10)
            for place, name in enumerate(names)
        )
    )
    for key in (("MGCA ", "Table 1: linear classification"), ("ConVI", "Linear classification")):
        found = [line for line in tables[key].lines if line.measured and line.published is not None]
        assert [(line.printed.split()[0], line.measured.value) for line in found] == [
            ("Random", 0.5),
            ("ImageNet", 0.6),
        ]


def test_blip_stands_beside_the_row_of_natural_images():
    name = "blip:vit_base_patch16_224"
    table = built(row(name, "chexpert", "linear_probe", "1 %", "auroc", 0.7))[
        "MGCA ", "Table 5: against natural images"
    ]
    (line,) = (line for line in table.lines if line.measured)
    assert (line.method, line.printed.split(",")[0], line.published) == (name, "BLIP", pytest.approx(0.691))


def test_moco_has_the_setting_of_the_printed_one_beside_it():
    table = built(row("moco:convirt", "chexpert", "linear_probe", "1 %", "auroc", 0.7))[
        "ConVI", "Comparison to image-only contrastive learning"
    ]
    (line,) = (line for line in table.lines if line.measured)
    assert any("configs/variants/moco/convirt.yaml" in table.remarks[place] for place in line.notes)


@pytest.mark.parametrize("paper", read_papers())
def test_every_remark_has_a_row_that_it_stands_beside(paper):
    spec = read_papers()[paper]
    rows = {table["title"]: [to_row(number) for number in _find_published(spec, table)] for table in spec["tables"]}
    everything = [row for found in rows.values() for row in found]
    asked = {name for table in spec["tables"] for name in table.get("cohorts", ())}
    places = [(spec, everything, asked), *((table, rows[table["title"]], set()) for table in spec["tables"])]
    for place, found, cohorts in places:
        assert set(place.get("of_method", {})) <= {row["method"] for row in found}
        assert set(place.get("of_class", {})) <= {row["class"] for row in found}
        assert set(place.get("of_cohort", {})) <= {row["cohort"] for row in found} | cohorts


def test_remarks_of_a_table_on_its_data_take_the_place_of_the_papers():
    tables = built(row("convirt", "chexpert", "image_image_retrieval", "zero-shot", "precision_at_5", 0.3))
    table = tables["ConVI", "Zero-shot retrieval"]
    assert not any("official validation set" in remark for remark in table.remarks)
    assert any("official validation set" in remark for remark in tables["ConVI", "Linear classification"].remarks)
    rerun = tables["MedKL", "The 14 diseases of ChestX-ray14"].remarks
    assert any("official test list" in remark for remark in rerun)
    assert not any("10 % of the data" in remark for remark in rerun)


def test_released_gloria_has_the_remark_of_lrclr():
    table = built()["LRCLR", "Table 1: zero-shot classification"]
    for line in lines(table, method="gloria:released"):
        assert any("known to be near chance" in table.remarks[place] for place in line.notes)


def test_a_network_that_was_trained_with_labels_stands_beside_its_row_of_retrieval():
    table = built(row("classifier:convirt", "chexpert", "image_image_retrieval", "zero-shot", "precision_at_10", 0.5))
    (line,) = (line for line in table["ConVI", "Zero-shot retrieval"].lines if line.measured)
    assert (line.printed.split(",")[0], line.measured.value) == ("ConVIRT + CheXpert Supervised", 0.5)


def test_a_mean_over_five_classes_stands_beside_ours_over_the_same_five():
    names = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion", "Fracture", "macro")
    values = (0.5, 0.6, 0.7, 0.8, 0.9, 0.1, 0.2)
    rows = [
        row(
            *("gloria:released", "chexpert", "zero_shot_classification", "zero-shot", "auroc", value),
            name=name,
            simulated=True,
        )
        for name, value in zip(names, values, strict=True)
    ]
    table = built(*rows)["Re-ru", "Zero-shot classification"]
    (line,) = (line for line in table.lines if line.measured)
    assert (line.class_name, line.printed) == ("mean of 5", "GLoRIA, ResNet-50")
    assert line.measured.value == pytest.approx(0.7)
    assert line.difference == pytest.approx(0.7 - 0.5484)
    assert line.simulated
    assert any("simulated images" in table.remarks[place] for place in line.notes)
    assert not any(line.measured for line in built(rows[-1])["Re-ru", "Zero-shot classification"].lines)


def test_no_dice_of_ours_stands_beside_a_mean_over_background_and_finding():
    table = built(row("convirt", "rsna_pneumonia", "segmentation", "100 %, tuned", "dice", 0.5))
    tables = [found for (paper, _), found in table.items() if paper == "Bench"]
    assert not any(line.measured for found in tables for line in found.lines)


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
    others = {(line.cohort, line.metric) for line in table[OTHERS].lines}
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
        row(
            *("medklip:released", "chestxray14", "zero_shot_classification", "zero-shot", "auroc", 0.7),
            name="Pleural Thickening",
        )
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


@pytest.mark.parametrize("other", [{"data_version": "e"}, {"n": 6}])
def test_no_difference_is_taken_of_numbers_on_other_data(other):
    rows = [
        row("lrclr", "chexpert", "zero_shot_classification", "zero-shot", "auroc", 0.7),
        row("chexzero", "chexpert", "zero_shot_classification", "zero-shot", "auroc", 0.6, **other),
    ]
    table = built(*rows)["LRCLR", "Figure 3: per finding, LRCLR minus CheXzero"]
    assert not any(line.measured for line in table.lines if line.published is not None)


def test_seeds_and_repeats_become_mean_and_std():
    rows = [
        row(
            "mgca",
            "covidx",
            "linear_probe",
            "1 %",
            "accuracy",
            value,
            seed=place % 2,
            repeat=place // 2,
            mlflow_run=run,
        )
        for place, (value, run) in enumerate([(0.5, "a"), (0.6, "b"), (0.7, "c"), (None, "")])
    ]
    table = built(*rows)["MGCA ", "Table 6: error bars"]
    (line,) = lines(table, cohort="covidx", setting="1 %")
    assert (line.measured.value, line.measured.std) == (pytest.approx(0.6), pytest.approx(0.1))
    assert (line.measured.seeds, line.measured.repeats, line.measured.low) == (2, 2, None)
    assert line.measured.runs == ("a", "b", "c")
    assert line.std == pytest.approx(0.0064)  # of the published runs


def test_frozen_and_tuned_encoders_are_not_mixed():
    name = "mgca:resnet50"
    for setting in ("1 %, tuned", "tuned 1 %"):
        table = built(row(name, "rsna_pneumonia", "segmentation", setting, "dice", 0.5))
        line, *others = lines(table["MGCA ", "Table 3: semantic segmentation"], cohort="rsna_pneumonia", method=name)
        assert line.measured is None
        assert [other.setting for other in others if other.measured] == [setting]
    table = built(row(name, "rsna_pneumonia", "segmentation", "1 %, frozen", "dice", 0.5))
    line = lines(table["MGCA ", "Table 3: semantic segmentation"], cohort="rsna_pneumonia", method=name)[0]
    assert line.measured.value == 0.5


def test_a_tenth_of_a_percent_is_no_percent():
    table = built(row("mgca", "covidx", "linear_probe", "0.1 %", "accuracy", 0.5))["MGCA ", "Table 6: error bars"]
    assert [line.setting for line in table.lines if line.measured] == ["0.1 %"]
    assert not any(line.measured for line in table.lines if line.published is not None)


def test_what_cannot_be_scored_is_a_line_without_a_value():
    table = built(row("mgca", "covidx", "linear_probe", "1 %", "accuracy", None, low=None, high=None))
    found = [line for line in table["MGCA ", "Table 6: error bars"].lines if line.measured]
    assert [(line.measured.value, line.difference) for line in found] == [(None, None)]


def test_published_rows_among_the_results_are_not_measured():
    published = row("mgca", "covidx", "linear_probe", "1 %", "accuracy", 0.7, source="MGCA NeurIPS 2022, Table 1")
    assert not any(line.measured for table in built(published).values() for line in table.lines)


def test_a_failed_cell_is_failed_in_every_number_that_it_would_have_had():
    note = "failed: no memory."
    failed = row("mgca", "covidx", "linear_probe", "1 %", "auroc", None, low=None, high=None, note=note)
    tables = built(failed, row("mgca", "covidx", "linear_probe", "10 %", "accuracy", 0.8))
    table = tables["MGCA ", "Table 6: error bars"]
    (line,) = lines(table, cohort="covidx", setting="1 %", metric="accuracy")
    assert (line.measured.value, line.measured.state, line.difference) == (None, "failed", None)
    assert "Measured: failed: no memory." in [table.remarks[place] for place in line.notes]
    (other,) = lines(table, cohort="covidx", setting="10 %", metric="accuracy")
    assert other.measured.notes == ()


def test_a_draw_that_failed_is_remarks_beside_those_that_did_not():
    rows = [
        row("mgca", "covidx", "linear_probe", "1 %", "accuracy", 0.5),
        row("mgca", "covidx", "linear_probe", "1 %", "auroc", None, repeat=1, note="failed: why."),
    ]
    (line,) = lines(built(*rows)["MGCA ", "Table 6: error bars"], cohort="covidx", setting="1 %", metric="accuracy")
    assert (line.measured.value, line.measured.notes) == (0.5, ("failed: why.",))


def test_numbers_on_simulated_images_say_so_and_so_do_their_differences():
    table = built(row("mgca", "chexpert", "linear_probe", "1 %", "auroc", 0.8, simulated=True))[
        "MGCA ", "Table 1: linear classification"
    ]
    for line in lines(table, method="mgca", cohort="chexpert", setting="1 %"):
        assert line.simulated
        assert any("simulated images" in table.remarks[place] for place in line.notes)
    assert not any(line.simulated for line in lines(table, setting="10 %"))


def test_classes_without_a_score_are_named_beside_their_mean():
    rows = [
        row("medklip", "phantom", "linear_probe", "1 %", "auroc", value, name=name)
        for name, value in (("macro", 0.6), ("edema", 0.6), ("hernia", None))
    ]
    table = built(*rows)[OTHERS]
    (line,) = table.lines
    remarks = [table.remarks[place] for place in line.notes]
    assert "Measured without hernia: classes that cannot be scored are in no mean." in remarks


def test_variants_of_a_method_are_the_rows_of_its_ablation_and_of_no_other_table():
    rows = [
        row(name, cohort, "linear_probe", "1 %", "auroc", 0.7)
        for name in ("mgca:ITA", "mgca:ITA+CTA", "mgca:ITA+CPA", "mgca:CPA")
        for cohort in ("chexpert", "phantom")
    ]
    tables = built(*rows)
    found = [line for line in tables["MGCA ", "Table 4: ablation"].lines if line.measured]
    assert [line.method for line in found] == ["mgca:ITA", "mgca:ITA+CTA", "mgca:ITA+CPA"]
    assert found[0].published == pytest.approx(0.876)
    assert not any(line.measured for line in tables["MGCA ", "Table 1: linear classification"].lines)
    others = {(line.method, line.cohort) for line in tables[OTHERS].lines}
    assert ("mgca:CPA", "chexpert") in others
    assert ("mgca:ITA", "chexpert") not in others


def test_a_class_of_ours_stands_beside_a_printed_mean_where_the_table_says_so():
    rows = [
        row("medklip", "covidx", "zero_shot_classification", "zero-shot", "auroc", value, name=name)
        for name, value in (("COVID-19", 0.9), ("normal", 0.8), ("macro", 0.85))
    ]
    table = built(*rows)["MedKL", "Zero-shot classification of an unseen disease (COVID-19)"]
    assert [(line.measured.value, line.published) for line in table.lines if line.measured] == [(0.9, 0.74)]


def test_grounding_is_printed_at_the_papers_threshold():
    rows = [
        row("medklip", "rsna_pneumonia", "zero_shot_grounding", "zero-shot", metric, value)
        for metric, value in (("dice", 0.3), ("dice_by_test_dice", 0.5))
    ]
    table = built(*rows)["MedKL", "Zero-shot grounding of seen diseases"]
    found = {line.metric: (line.measured.value, line.published) for line in table.lines if line.measured}
    assert found == {"dice_by_test_dice": (0.5, 0.46), "dice": (0.3, None)}


def test_different_data_under_one_mean_are_remarks():
    rows = [
        row("medklip", "phantom", "linear_probe", "1 %", "auroc", 0.6, repeat=repeat, data_version=str(repeat))
        for repeat in (0, 1)
    ]
    (table,) = (table for key, table in built(*rows).items() if key == OTHERS)
    assert any("different versions of the data" in remark for remark in table.remarks)


def test_a_network_with_other_settings_than_the_papers_says_so_beside_printed_numbers():
    rows = [row(name, "chexpert", "linear_probe", "1 %", "auroc", 0.8) for name in ("mgca", "convirt", "medklip")]
    results = {"toy": pa.Table.from_pylist(rows, RESULTS)}
    departures = {"toy": {"mgca": "was trained with preset demo"}, "other": {"convirt": "was trained with preset demo"}}
    (table,) = (table for table in build_tables(results, departures) if table.title == "Table 1: linear classification")
    said = "Measured: mgca was trained with preset demo."
    found = {line.method for line in table.lines if said in [table.remarks[place] for place in line.notes]}
    assert found == {"mgca"}
    assert not any("was trained with preset" in remark and remark != said for remark in table.remarks)


def test_no_pretraining_is_dropped_and_none_is_mixed_with_another():
    rows = {
        cohort: [
            row("mgca", "chexpert", "linear_probe", "1 %", "auroc", value, simulated=cohort == "phantom"),
            row("mgca", "open_i", "linear_probe", "1 %", "auroc", value),
            row("mgca", "chexpert", "linear_probe", "1 %", "auroc", value, seed=1),
        ]
        for cohort, value in (("toy", 0.8), ("phantom", 0.6))
    }
    tables = of_pretrainings(**rows, open_i=[])
    found = lines(tables["MGCA ", "Table 1: linear classification"], method="mgca", cohort="chexpert", setting="1 %")
    values = [(line.pretraining, line.measured.value, line.measured.seeds, line.published) for line in found]
    both = [("toy", 0.8, 2), ("phantom", 0.6, 2)]
    assert values == [(*one, 0.888) for one in both]
    remarks = tables["MGCA ", "Table 1: linear classification"].remarks
    simulated = [any("simulated" in remarks[place] for place in line.notes) for line in found]
    assert simulated == [False, True]
    others = lines(tables[OTHERS], cohort="open_i")
    assert [(line.pretraining, line.measured.value) for line in others] == [("toy", 0.8), ("phantom", 0.6)]
    published = lines(tables["MGCA ", "Table 1: linear classification"], method="gloria")
    assert {(line.pretraining, line.measured) for line in published} == {("", None)}
    assert len(published) == len(lines(built()["MGCA ", "Table 1: linear classification"], method="gloria"))
