from __future__ import annotations

import dagster as dg
import pytest

from assets import documented
from assets.documented import documented_config
from assets.method_config import HIDDEN, VARIANT, pretraining_config
from models.registry import method_names

SOURCE = '''
from dataclasses import dataclass, field
import torch


@dataclass
class NetConfig:
    """A network."""

    method: str
    width: int = 256  # of the features
    rate: float = 1e-4
    # one of a, b
    # or c
    kind: str = "a"
    more: dict[str, int] = field(default_factory=dict)
'''


@pytest.fixture
def source(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(SOURCE)
    monkeypatch.setattr(documented, "CHECKOUT", tmp_path)
    documented._config_class.cache_clear()
    yield "net.py"
    documented._config_class.cache_clear()


def test_fields_keep_type_default_and_comment(source):
    config = documented_config(source, {"width": 64}, hidden=("method",))
    assert issubclass(config, dg.Config)
    assert config().model_dump() == {"width": 64, "rate": 1e-4, "kind": "a", "more": {}}
    described = {name: item.description for name, item in config.model_fields.items()}
    assert described == {"width": "of the features", "rate": None, "kind": "one of a, b or c", "more": None}
    assert config.__doc__ == "A network."


def test_a_default_for_no_field_is_named(source):
    with pytest.raises(ValueError, match="no field wdth"):
        documented_config(source, {"wdth": 64}, hidden=("method",))


@pytest.mark.parametrize("method", method_names())
def test_the_launchpad_offers_exactly_what_training_and_method_take(method):
    from training.config import TrainingConfig, preset

    settings = pretraining_config(method)().model_dump()
    assert settings.pop(VARIANT) == ""  # a name, which training has no use for
    demo = preset(method, "demo")
    request = TrainingConfig.from_dict({"method": method, **settings}, "launchpad")
    assert set(settings) == set(vars(demo)) - set(HIDDEN) | {"method_config"}
    for name in set(settings) - {"method_config"}:
        assert getattr(request, name) == getattr(demo, name), name
    assert request.method_config.items() >= demo.method_config.items()
