"""The version of a run's code covers the methods that its method builds on."""

from store.code import code_version
from training.state import code


def test_a_method_includes_those_it_builds_on():
    assert code._built_on("lrclr") == {"lrclr", "chexzero"}
    assert code._built_on("convirt") == {"convirt"}


def test_a_change_below_changes_the_version(monkeypatch):
    seen = []
    monkeypatch.setattr(code, "code_version", lambda *files: seen.extend(files) or code_version(*files))
    code.training_code.__wrapped__("lrclr")
    assert {"models/methods/lrclr.py", "models/methods/chexzero.py"} <= set(seen)
    assert "models/methods/mgca.py" not in seen
