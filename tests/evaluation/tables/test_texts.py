from dataclasses import replace

from evaluation.results.summary import MeasuredValue
from evaluation.tables.paper_tables import Line, PaperTable
from evaluation.tables.texts import (
    HEAD,
    choose_columns,
    format_letters,
    format_measured,
    format_number,
    format_published,
)

LINE = Line("mgca", "MGCA", "covidx", "linear_probe", "1 %", "auroc", "macro", None, 0.9)


def test_what_a_measurement_reads_like():
    assert format_measured(None, "auroc") == ""
    assert format_measured(MeasuredValue(None, None, None, None, 0, 0, 3), "auroc") == "not scored"
    assert (
        format_measured(MeasuredValue(None, None, None, None, 0, 0, 3, notes=("failed: no masks",)), "auroc")
        == "failed"
    )
    assert format_measured(MeasuredValue(0.5, None, None, 0.012, 3, 1, 3), "auroc") == "50.0 ± 1.2 (3 seeds)"
    assert format_measured(MeasuredValue(0.5, None, None, None, 1, 1, 3), "auroc") == "50.0"


def test_contrast_to_noise_is_no_share():
    assert (
        format_measured(MeasuredValue(0.906, 0.8, 1.2, None, 1, 1, 3), "contrast_to_noise_signed")
        == "0.91 [0.80, 1.20]"
    )
    assert format_number(-0.0001, "auroc", "+") == "+0.0"
    assert format_number(0.5, "dice") == "50.0"


def test_published_means_of_several_runs_have_their_std():
    assert format_published(LINE) == "90.0"
    assert format_published(Line(**{**vars(LINE), "std": 0.005})) == "90.0 ± 0.5"


def test_columns_that_say_nothing_are_left_out():
    shown = [HEAD[place] for place in choose_columns(PaperTable("p", "t", (), (LINE,)))]
    assert shown == ["method", "printed as", "data", "setting", "metric", "measured", "published", "difference"]
    ours = Line(**{**vars(LINE), "published": None, "printed": ""})
    level = Line(**{**vars(ours), "class_name": "level 1", "task": "grading"})
    shown = [HEAD[place] for place in choose_columns(PaperTable("p", "t", (), (ours, level)))]
    assert shown == ["method", "data", "task", "setting", "metric", "class", "measured"]


def test_a_column_tells_pretrainings_apart_where_there_are_several():
    found = replace(LINE, measured=MeasuredValue(0.5, None, None, None, 1, 1, 3), pretraining="toy")
    for others, shown in (((LINE,), False), ((LINE, replace(found, pretraining="phantom")), True)):
        columns = [HEAD[place] for place in choose_columns(PaperTable("p", "t", (), (found, *others)))]
        assert ("pretrained on" in columns) is shown


def test_remarks_beyond_z_have_two_letters():
    assert format_letters([0, 25, 26, 53]) == "a, z, aa, bb"
