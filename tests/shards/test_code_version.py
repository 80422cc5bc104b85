from __future__ import annotations

import pytest

from shards import code_version as module

PROGRAM = '"""Doc."""\n\n\ndef double(x):\n    """Twice."""\n    return 2 * x  # fast\n'


@pytest.fixture
def version(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    (tmp_path / "code" / "data").mkdir(parents=True)

    def write_and_digest(program=PROGRAM, data="a,b"):
        (tmp_path / "code" / "program.py").write_text(program)
        (tmp_path / "code" / "data" / "words.csv").write_text(data)
        return module.code_version.__wrapped__("code")

    return write_and_digest


@pytest.mark.parametrize(
    ("old", "new"),
    [("# fast", "# quick"), ("Twice.", "The double."), ("Doc.", "Words."), ("\n\n\n", "\n\n\n\n\n")],
)
def test_words_about_the_code_do_not_count(version, old, new):
    assert version() == version(PROGRAM.replace(old, new))


@pytest.mark.parametrize(("old", "new"), [("2 *", "3 *"), ("double", "twice"), ("return", "yield")])
def test_code_counts(version, old, new):
    assert version() != version(PROGRAM.replace(old, new))


def test_data_beside_the_code_counts(version):
    assert version() != version(data="a,c")


def test_a_file_that_does_not_exist_is_named(version):
    with pytest.raises(FileNotFoundError, match="nothing"):
        module.code_version.__wrapped__("nothing.py")


def test_every_stage_names_code_that_exists():
    from assets import reports
    from assets.examination import ANSWER_CODE
    from training.code import training_code

    assert module.code_version(*ANSWER_CODE)
    assert module.code_version(*reports.KNOWLEDGE_CODE)
    assert training_code("medklip")
