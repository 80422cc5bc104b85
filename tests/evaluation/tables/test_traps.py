import ast
from pathlib import Path

import pytest

from evaluation.tables.traps import read_traps

ROOT = Path(__file__).parents[3]
# What a reader of the papers and their code must know, in words that its row has.
KNOWN = (
    "run-length codes",
    "A split by image",
    "Validation rows overlap",
    "official validation set of CheXpert is the test set",
    "several splits",
    "label set 9A",
    "blanks break columns",
    "source of an image tells its label",
    "development set is the test set",
    '" -1"',
    "test split of MIMIC-CXR stops",
    "checkpoint is chosen by labels",
    "Thresholds are searched on the test set",
    ".008 on raw attention",
    '"no No Finding"',
    "four or five positives",
    "standardised over the test set",
    "skipped in mAP",
    "confidence of .5",
    ".65 is printed twice",
    "Batch norm of a frozen encoder",
    "mean over batches",
    "last images of an epoch",
    "Validation images are augmented",
    "without a seed",
    "mirrored",
    "largest classes decide the accuracy",
    "two releases, code bases or test lists",
    "ITA on SIIM is ConVIRT's row",
    "near chance",
)


def collected(path):
    """Names of the test functions that pytest collects from a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("words", KNOWN)
def test_every_known_trap_has_a_row(words):
    assert any(words in trap.trap for trap in read_traps())


def test_every_trap_says_what_is_done_instead():
    traps = read_traps()
    assert all(trap.trap.endswith(".") and trap.instead.endswith(".") for trap in traps)
    assert len({trap.trap for trap in traps}) == len(traps)


@pytest.mark.parametrize("test", sorted({trap.test for trap in read_traps() if trap.test}))
def test_the_tests_that_hold_them_are_there(test):
    path, _, name = test.partition("::")
    assert Path(path).name.startswith("test_")
    assert name in collected(path)
