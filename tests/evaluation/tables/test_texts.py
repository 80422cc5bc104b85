from evaluation.results.summary import Measured
from evaluation.tables.paper_tables import Line, PaperTable
from evaluation.tables.texts import HEAD, letters, measured_text, number, published_text, shown_columns

LINE = Line("mgca", "MGCA", "covidx", "linear_probe", "1 %", "auroc", "macro", None, 0.9)


def test_what_a_measurement_reads_like():
    assert measured_text(None, "auroc") == ""
    assert measured_text(Measured(None, None, None, None, 0, 0, 3), "auroc") == "not scored"
    assert measured_text(Measured(None, None, None, None, 0, 0, 3, notes=("failed: no masks",)), "auroc") == "failed"
    assert measured_text(Measured(0.5, None, None, 0.012, 3, 1, 3), "auroc") == "50.0 ± 1.2 (3 seeds)"
    assert measured_text(Measured(0.5, None, None, None, 1, 1, 3), "auroc") == "50.0"


def test_contrast_to_noise_is_no_share():
    assert measured_text(Measured(0.906, 0.8, 1.2, None, 1, 1, 3), "contrast_to_noise_signed") == "0.91 [0.80, 1.20]"
    assert number(-0.0001, "auroc", "+") == "+0.0"
    assert number(0.5, "dice") == "50.0"


def test_published_means_of_several_runs_have_their_deviation():
    assert published_text(LINE) == "90.0"
    assert published_text(Line(**{**vars(LINE), "deviation": 0.005})) == "90.0 ± 0.5"


def test_columns_that_say_nothing_are_left_out():
    shown = [HEAD[place] for place in shown_columns(PaperTable("p", "t", (), (LINE,)))]
    assert shown == ["method", "printed as", "data", "setting", "metric", "measured", "published", "difference"]
    ours = Line(**{**vars(LINE), "published": None, "printed": ""})
    level = Line(**{**vars(ours), "class_name": "level 1", "task": "grading"})
    shown = [HEAD[place] for place in shown_columns(PaperTable("p", "t", (), (ours, level)))]
    assert shown == ["method", "data", "task", "setting", "metric", "class", "measured"]


def test_remarks_beyond_z_have_two_letters():
    assert letters([0, 25, 26, 53]) == "a, z, aa, bb"
