"""Methods are found by their presence, and their settings are read without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest

from models import methods, registry
from models.encoders.clip_settings import ClipSettings
from models.errors import ModelError
from models.registry import method_modules, method_names, recipe, settings_class
from store.code import ROOT
from store.settings import described_settings


def test_methods_are_folders_or_files(tmp_path, monkeypatch):
    for path in ("one.py", "two/network.py", "two/config.py", "__init__.py", "no_method/config.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("")
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    monkeypatch.setattr(methods, "__path__", [str(tmp_path)])
    assert method_names() == ["one", "two"]
    assert method_modules("one") == ("models.methods.one",)
    assert method_modules("two") == ("models.methods.two.network", "models.methods.two.config")
    assert recipe("one") == {}
    with pytest.raises(ModelError, match="one dataclass whose name ends in Config, not 0"):
        settings_class("one")


def test_settings_and_recipes_need_no_torch():
    code = (
        "import sys\n"
        "from models.registry import method_names, recipe, settings_class\n"
        "for name in method_names(): settings_class(name)(), recipe(name)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("method", method_names())
def test_every_setting_has_a_plain_default_and_a_description(method):
    assert recipe(method)
    for name, kind, default, description in described_settings(settings_class(method)):
        assert kind in (str, int, float, bool), name
        assert type(default) is kind, name
        assert description.endswith("."), name


def test_lrclr_declares_only_what_a_clip_does_not_have():
    own = {name for name in settings_class("lrclr").__annotations__}
    assert not own & {field.name for field in fields(ClipSettings)}
    assert not own & {field.name for field in fields(settings_class("chexzero"))}
