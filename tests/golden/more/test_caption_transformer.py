"""Our meshed-memory transformer gives the numbers of its authors' code."""

import re

import numpy as np
import pytest
import torch

import models.methods.captioning.decoding.meshed_memory as meshed_memory
from models.losses.language.word_entropy import chosen_entropies, mean_over_words
from models.methods.captioning.decoding.meshed_memory import MemoryEncoder, MeshedDecoder, positions
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
DTYPE = {"32": torch.float32, "64": torch.float64}
PAD = 1  # of the file
MODULES = (
    (r"(encoder)\.layers\.(\d+)\.mhatt\.(?:attention\.)?", r"\1.attention.\2."),
    (r"(encoder)\.layers\.(\d+)\.pwff\.", r"\1.feed_forward.\2."),
    (r"^encoder\.fc\.", "encoder.narrow."),
    (r"^encoder\.layer_norm\.", "encoder.norm."),
    (r"\.self_att\.(?:attention\.)?", ".among_words."),
    (r"\.enc_att\.(?:attention\.)?", ".at_image."),
    (r"\.pwff\.", ".feed_forward."),
    (r"^decoder\.word_emb\.", "decoder.words."),
    (r"^decoder\.fc\.", "decoder.next_word."),
)
PARTS = {
    "fc_q": "query", "fc_k": "key", "fc_v": "value", "fc_o": "output", "layer_norm": "norm", "m_k": "memory_keys",
    "m_v": "memory_values", "fc1": "widen", "fc2": "narrow",
}  # fmt: skip


def ours(name: str) -> str:
    for pattern, replacement in MODULES:
        name = re.sub(pattern, replacement, name)
    name = re.sub(r"\.fc_alpha(\d+)\.", lambda found: f".gates.{int(found[1]) - 1}.", name)
    return ".".join(PARTS.get(part, part) for part in name.split("."))


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("caption_transformer*.npz"))
def test_levels_words_loss_and_gradients(path, precision, monkeypatch):
    arrays, dtype = load(path), DTYPE[precision]
    width, key_width, heads, inner, memory, layers = (
        int(arrays[f"hp.{name}"]) for name in ("d_model", "d_k", "heads", "d_ff", "memory", "layers")
    )
    theirs = {key[6:]: torch.from_numpy(value) for key, value in arrays.items() if key.startswith("param.")}
    value_width = theirs["encoder.layers.0.mhatt.attention.fc_v.weight"].shape[0] // heads
    vocabulary = theirs["decoder.word_emb.weight"].shape[0]
    features = torch.from_numpy(arrays["in.features"]).to(dtype).requires_grad_()
    shape = {"width": width, "heads": heads, "key_width": key_width, "inner": inner, "value_width": value_width}
    network = torch.nn.ModuleDict(
        {
            "encoder": MemoryEncoder(features.shape[-1], layers=layers, memory=memory, **shape),
            "decoder": MeshedDecoder(vocabulary, PAD, levels=layers, layers=layers, **shape),
        }
    )
    table = theirs.pop("decoder.pos_emb.weight")
    torch.testing.assert_close(positions(len(table), width), table, rtol=0, atol=2e-7)
    # which they keep in single precision, so that its last bits decide the eighth digit
    monkeypatch.setattr(meshed_memory, "positions", lambda count, *_: table[:count])
    network.load_state_dict({ours(name): value for name, value in theirs.items()})
    network = network.to(dtype).eval()
    ids = torch.from_numpy(arrays["in.captions"])
    mask = ids != PAD
    levels = network["encoder"](features)
    logits = network["decoder"](levels, ids, mask)
    told = mask[:, 1:]
    loss = mean_over_words(*chosen_entropies(logits[:, :-1][told], ids[:, 1:][told], told))
    cells = network["encoder"]
    first = cells.norm(cells.narrow(features).relu())
    compared = {
        "log_probs": logits.log_softmax(-1),
        "encoder_levels": levels,
        "loss": loss,
        "memory_attention": cells.attention[0].output(cells.attention[0].attend(first, first)),
    }
    outputs = {key.removeprefix(f"out{precision}."): arrays[key] for key in arrays if key.startswith(f"out{precision}")}
    assert set(outputs) == set(compared)
    for name, value in compared.items():
        np.testing.assert_allclose(value.detach(), outputs[name], **TOLERANCE[precision], err_msg=name)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    expected = {key[7:]: arrays[key] for key in arrays if key.startswith(f"grad{precision}.")}
    np.testing.assert_allclose(features.grad, expected.pop("features"), **TOLERANCE[precision])
    assert {ours(name) for name in expected} == set(gradients)
    for name, value in expected.items():
        np.testing.assert_allclose(gradients[ours(name)], value, **TOLERANCE[precision], err_msg=name)
