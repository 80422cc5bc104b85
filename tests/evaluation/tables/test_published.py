import pytest

from evaluation.metrics.values import MACRO
from evaluation.results.schema import RESULTS
from evaluation.tables.published import read_published, tabulate_published, to_row


def printed(source, table, method, dataset, setting, metric):
    wanted = (table, method, dataset, setting, metric)
    (number,) = (
        number
        for number in read_published()
        if number.source.startswith(source)
        and (number.table, number.method, number.dataset, number.setting, number.metric) == wanted
    )
    return to_row(number)


def test_every_published_number_is_a_row_with_its_source():
    table = tabulate_published()
    assert table.schema.equals(RESULTS)
    assert table.num_rows == len(read_published()) == 1254 + 14
    assert "measured" not in table["source"].to_pylist()
    assert {row["source"] for row in table.to_pylist() if row["method"] == "medklip"} > {
        "MedKLIP GitHub issue #12 (quotes the paper), paper Table 1 as quoted"
    }


@pytest.mark.parametrize(
    ("place", "row"),
    [
        (
            ("MGCA", "Table 1", "MGCA (ResNet-50)", "COVIDx v6 (3 classes)", "linear probe 10%", "ACC"),
            ("mgca:resnet50", "covidx", "linear_probe", "10 %", "accuracy", MACRO, 0.835),
        ),
        (
            ("MGCA", "Table 2", "Random", "RSNA Pneumonia", "frozen backbone 1%", "mAP@[0.4:0.75]"),
            ("random:resnet50", "rsna_pneumonia", "detection", "1 %", "map", MACRO, 0.01),
        ),
        (
            ("BioViL-T model card", "MS-CXR phrase grounding", "BioViL", "MS-CXR", "zero-shot", "CNR"),
            ("biovil", "ms_cxr", "phrase_grounding", "zero-shot", "contrast_to_noise", MACRO, 1.07),
        ),
        (
            ("ConVIRT", "Fine-tuning (b)", "ConVIRT", "MURA", "all", "AUC"),
            ("convirt", "mura", "fine_tune", "100 %", "auroc", MACRO, 0.89),
        ),
        (
            (
                *("MedKLIP GitHub issues", "re-run", "MedKLIP (released checkpoint)"),
                *("ChestX-ray14 official test list (25,596)", "class thicken", "AUC"),
            ),
            (
                "medklip:released",
                "chestxray14",
                "zero_shot_classification",
                "zero-shot",
                "auroc",
                "Pleural_Thickening",
                None,
            ),
        ),
        (
            ("BenchX", "Table 3", "MGCA-R50", "RSNA Pneumonia", "fine-tune 100%", "mDice"),
            (
                "mgca:resnet50",
                "rsna_pneumonia",
                "segmentation",
                "100 %, tuned",
                "mDice",
                MACRO,
                None,
            ),  # no Dice of ours
        ),
        (
            ("BenchX", "Table 1", "MedCLIP-ViT", "NIH ChestX-ray14", "fine-tune 1%", "AUROC"),
            ("medclip:released-swin", "chestxray14", "fine_tune", "1 %", "auroc", MACRO, None),
        ),
        (
            (
                "ConVIRT",
                "Zero-shot retrieval",
                "ConVIRT + CheXpert Supervised",
                "CheXpert 8x200",
                "fine-tuned",
                "Precision@5",
            ),
            ("classifier:convirt", "chexpert", "image_image_retrieval", "zero-shot", "precision_at_5", MACRO, None),
        ),
        (
            (
                "MAVL CVPR",
                "README zero-shot table",
                "GLoRIA",
                "CheXpert (test, 5 classes)",
                "threshold = max F1 on test",
                "AUC",
            ),
            ("gloria:released", "chexpert", "zero_shot_classification", "zero-shot", "auroc", "mean of 5", 0.5484),
        ),
        (
            ("LRCLR", "Table 1", "CheXzero + LRCLR", "CheXpert test (500 images)", "mean over 14 findings", "AUC"),
            ("lrclr", "chexpert", "zero_shot_classification", "zero-shot", "auroc", MACRO, 0.7866),
        ),
    ],
    ids=lambda value: value[0] + value[2] if len(value) == 6 else "",
)
def test_names_and_units_become_ours(place, row):
    found = printed(*place)
    *names, value = row
    assert [found[name] for name in ("method", "cohort", "task", "setting", "metric", "class")] == names
    if value is not None:
        assert found["value"] == pytest.approx(value, abs=1e-12)


def test_what_has_no_counterpart_keeps_its_printed_name():
    rows = [to_row(number) for number in read_published()]
    assert {"MRM", "PixelPro", "previous best baseline"} <= {row["method"] for row in rows}
    linear = [row for row in rows if row["source"].startswith("LoVT") and row["setting"].startswith("linear")]
    assert {row["setting"] for row in linear} == {"linear", "linear 1%", "linear 10%", "linear 100%"}


def test_the_std_of_several_runs_is_a_number_of_its_own():
    (number,) = (
        number
        for number in read_published()
        if (number.source, number.table, number.setting) == ("MGCA NeurIPS 2022", "Table 6", "linear probe 1%")
        and number.metric == "ACC"
    )
    assert number.std == pytest.approx(0.0064)
    assert "std" not in number.remark
    assert all((number.std is None) == ("std=" not in number.notes) for number in read_published())


def test_a_row_that_ranks_at_random_stands_beside_the_chance_of_our_candidates():
    rows = [
        to_row(number)
        for number in read_published()
        if (number.table, number.method) == ("Zero-shot retrieval", "Random")
    ]
    found = {(row["task"], row["method"], row["metric"]) for row in rows}
    assert ("text_image_retrieval", "convirt", "precision_chance") in found
    assert ("image_image_retrieval", "random:resnet50", "precision_at_5") in found
    assert len(rows) == 6
    assert len(found) == 4
    assert {row["value"] for row in rows} == {0.125}
