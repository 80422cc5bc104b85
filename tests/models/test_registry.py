"""Methods are found by their presence, and their settings are read without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest

from models import methods, registry
from models.encoders.clip_settings import ClipSettings
from models.errors import ModelError
from models.registry import build_method, method_modules, method_names, recipe, settings_class
from store.code import ROOT
from store.settings import described_settings


def test_methods_are_folders_or_files(tmp_path, monkeypatch):
    files = ("one.py", "two/network.py", "two/config.py", "__init__.py", "family/__init__.py", "family/config.py")
    for path in (*files, "family/three.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("")
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    monkeypatch.setattr(methods, "__path__", [str(tmp_path)])
    assert method_names() == ["one", "three", "two"]
    assert method_modules("three") == ("models.methods.family.three",)
    assert method_modules("one") == ("models.methods.one",)
    assert method_modules("two") == ("models.methods.two.network", "models.methods.two.config")
    assert recipe("one") == {}
    with pytest.raises(ModelError, match="one dataclass whose name ends in Config, not 0"):
        settings_class("one")


FILE = """
from __future__ import annotations
import no_such_module
from dataclasses import dataclass
from store.settings import setting
LARGEST = 2 * (HALF := 8)
TRAINING = {"epochs": 3}
@dataclass(frozen=True)
class OneConfig:
    width: int = setting(LARGEST, "Width.")
    no_such_module: bool = setting(False, "A name that is also imported.")
    def __post_init__(self) -> None:
        check(self.width)
def check(width: int) -> None:
    if width > LARGEST: raise ValueError(width)
class Network(no_such_module.Module): pass
"""


def test_settings_of_one_file_are_read_without_the_rest_of_it(tmp_path, monkeypatch):
    (tmp_path / "one.py").write_text(FILE)
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    settings = settings_class("one")
    assert settings().width == 16
    assert recipe("one") == {"epochs": 3}
    assert next(iter(described_settings(settings))) == ("width", int, 16, "Width.")
    with pytest.raises(ValueError, match="17"):
        settings(17)
    assert "models.methods.one" not in sys.modules


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


@pytest.mark.parametrize(
    ("method", "given", "sentence"),
    [
        (
            "convirt",
            {"output_stride": 5},
            "method_config of convirt: `output_stride` is 5, but must be one of 8, 16, 32.",
        ),
        ("vsepp", {"margin": -0.1}, "method_config of vsepp: `margin` is -0.1, but must be at least 0.0."),
        ("dsve", {"text_dropout": 1.0}, "method_config of dsve: `text_dropout` is 1.0, but must be below 1.0."),
        ("simclr", {"dimension": 0}, "method_config of simclr: `dimension` is 0, but must be at least 1."),
        ("gloria", {"prompts": "many"}, "method_config of gloria: `prompts` is 'many', but must be a whole number."),
        ("moco", {"queue": 0}, "method_config of moco: `queue` is 0, but must be at least 1."),
        ("lrclr", {"first_logit_scale": 0}, "method_config of lrclr: `first_logit_scale` is 0, but must be above 0.0."),
        ("convirt", {"temperature": 0}, "method_config of convirt: `temperature` is 0, but must be above 0.0."),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(method, given, sentence):
    with pytest.raises(ModelError) as caught:
        build_method(method, given, [], 64)
    assert str(caught.value) == sentence
