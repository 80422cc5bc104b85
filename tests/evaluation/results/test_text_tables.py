import pyarrow as pa
import pytest

from evaluation.results.schema import RESULTS
from evaluation.results.text_tables import SIMULATION_NOTE, as_markdown, as_text


def table(*rows):
    common = {
        "checkpoint": "abcdef0123",
        "mlflow_run": "",
        "cohort": "toy",
        "data_version": "d",
        "task": "zero_shot_classification",
        "setting": "zero-shot",
        "seed": 0,
        "source": "measured",
        "low": 0.1,
        "high": 0.2,
        "n": 50,
        "repeat": 0,
        "note": "",
        "simulated": False,
    }
    return pa.Table.from_pylist([{**common, **row} for row in rows], RESULTS)


def number(method, metric, name, value, **more):
    return {"method": method, "metric": metric, "class": name, "value": value, **more}


RESULT = table(
    number("supervised", "auroc", "macro", 0.97, n=2),
    number("untrained:medklip", "auroc", "nodule", 0.5),
    number("untrained:medklip", "auroc", "macro", 0.51, n=2),
    number("medklip", "auroc", "nodule", 0.9),
    number("medklip", "auroc", "edema", None, low=None, high=None),
    number("medklip", "auroc", "macro", 0.912345, n=1),
    number("medklip", "f1", "nodule", 0.4),
    number("medklip", "f1", "macro", 0.41, low=None, high=None, n=1),
)


def test_text_has_methods_side_by_side_and_classes_below_their_metric():
    lines = as_text(RESULT).splitlines()
    assert lines[0] == "toy · zero_shot_classification · zero-shot"
    assert lines[1].split() == ["metric", "n", "medklip", "untrained:medklip", "supervised"]
    cells = [[cell for cell in line.split("  ") if cell.strip()] for line in lines[3:7]]
    assert [cell.strip() for cell in cells[0]] == [
        "auroc",
        "2/1",
        "0.912 [0.100, 0.200]",
        "0.510 [0.100, 0.200]",
        "0.970 [0.100, 0.200]",
    ]
    assert [row[0] for row in cells] == ["auroc", " nodule", " edema", "f1"]
    assert "not scored" in lines[5]
    assert lines[6].split() == ["f1", "1", "0.410"]
    columns = {line.index("0.") for line in (lines[3], lines[4])}
    assert columns == {lines[1].index("medklip")}


def test_a_table_of_many_methods_continues_below_itself():
    methods = [f"method{number}" for number in range(6)]
    classes = ("macro", "Enlarged Cardiomediastinum")
    names = [each for name in methods for each in (name, f"untrained:{name}")]
    table_of_six = table(*(number(name, "auroc", each, 0.5) for name in names for each in classes))
    lines = as_text(table_of_six, about="pretrained on toy").splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].endswith(" · pretrained on toy")
    heads = [line.split()[2:] for line in lines if line.startswith("metric")]
    assert heads == [names[0::2][:3], names[0::2][3:], names[1::2][:3], names[1::2][3:]]
    assert sum(line.count("0.500 [0.100, 0.200]") for line in lines) == 24


def test_a_class_without_a_mean_has_its_metric_above():
    assert as_text(table(number("medklip", "auroc", "nodule", 0.5))).splitlines()[3:5] == [
        "auroc",
        " nodule  50  0.500 [0.100, 0.200]",
    ]


def test_markdown_has_the_same_cells():
    lines = as_markdown(RESULT).splitlines()
    assert lines[0].startswith("### toy")
    assert lines[2] == "| metric | class | n | medklip | untrained:medklip | supervised |"
    assert lines[3] == "| --- | --- | --- | --- | --- | --- |"
    assert lines[5] == "| auroc | nodule | 50 | 0.900 [0.100, 0.200] | 0.500 [0.100, 0.200] |  |"


def test_metrics_listed_per_class_can_be_chosen():
    assert "nodule" not in as_text(RESULT, per_class=())
    assert as_text(RESULT, per_class=("f1",)).count("nodule") == 1


@pytest.mark.parametrize("render", [as_text, as_markdown])
def test_a_simulation_says_so(render):
    assert SIMULATION_NOTE not in " ".join(render(RESULT).split())
    for drawn in ({"cohort": "phantom"}, {"simulated": True}):
        text = " ".join(render(table(number("medklip", "auroc", "macro", 0.9, **drawn))).split())
        assert SIMULATION_NOTE in text
        assert "zero_shot_classification · zero-shot · simulated" in text


@pytest.mark.parametrize("render", [as_text, as_markdown])
def test_what_failed_says_so_in_every_row_with_its_reason(render):
    note = "not available: it has no maps."
    text = render(
        table(
            number("medklip", "auroc", "macro", 0.9),
            number("medklip", "f1", "macro", 0.8),
            number("mgca", "auroc", "macro", None, low=None, high=None, note=note),
        )
    )
    assert text.count("not available") == 3
    reason = f"{note} (mgca · toy · zero_shot_classification · zero-shot)"
    assert reason in " ".join(text.split())


def test_repeats_of_a_network_are_one_number():
    text = as_text(
        table(*(number("medklip", "auroc", "macro", 0.8 + 0.1 * repeat, repeat=repeat) for repeat in (0, 1)))
    )
    assert "0.850 ± 0.071 (2 repeats)" in text


def test_several_runs_of_a_method_are_told_apart():
    text = as_text(
        table(
            number("medklip", "auroc", "macro", 0.9),
            number("medklip", "auroc", "macro", 0.8, seed=1, checkpoint="1234567890"),
            number("convirt", "auroc", "macro", 0.7, source="MedKLIP Table 2"),
        )
    )
    assert "medklip abcdef01 seed 0" in text
    assert "medklip 12345678 seed 1" in text
    assert "convirt (MedKLIP Table 2)" in text


def test_cohorts_and_tasks_are_tables_of_their_own():
    text = as_text(
        table(
            number("medklip", "pointing_game", "macro", 0.5, task="zero_shot_grounding"),
            number("medklip", "auroc", "macro", 0.9),
            number("medklip", "auroc", "macro", 0.9, cohort="other"),
        )
    )
    titles = [line for line in text.splitlines() if " · " in line]
    assert [title.split(" · ")[:2] for title in titles] == [
        ["other", "zero_shot_classification"],
        ["toy", "zero_shot_classification"],
        ["toy", "zero_shot_grounding"],
    ]
