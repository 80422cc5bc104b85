"""Our recurrent captioner gives the numbers of the code that is used most for it."""

import numpy as np
import pytest
import torch

from models.losses.language.coverage import uncovered
from models.losses.language.word_entropy import chosen_entropies, mean_over_words
from models.methods.captioning.decoding.attention_lstm import AttentionLstm
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
DTYPE = {"32": torch.float32, "64": torch.float64}
NAMES = {
    "attention.encoder_att": "attention.of_cells", "attention.decoder_att": "attention.of_hidden",
    "attention.full_att": "attention.score", "embedding": "words", "decode_step": "recurrent",
    "init_h": "first_hidden", "init_c": "first_cell", "f_beta": "gate", "fc": "next_word",
}  # fmt: skip
IDLE = "attention.score.bias"  # added to all scores alike, it changes no attention, and ours has none


def ours(name: str) -> str:
    module, _, parameter = name.rpartition(".")
    return f"{NAMES[module]}.{parameter}"


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("caption_lstm*.npz"))
def test_words_attention_losses_and_gradients(path, precision):
    arrays, dtype = load(path), DTYPE[precision]
    sizes = {name: int(arrays[f"hp.{name}"]) for name in ("attention_dim", "embed_dim", "decoder_dim", "vocab_size")}
    features = torch.from_numpy(arrays["in.feature_map"]).to(dtype).requires_grad_()
    decoder = AttentionLstm(
        sizes["vocab_size"], features.shape[-1], sizes["embed_dim"], sizes["decoder_dim"], sizes["attention_dim"]
    )
    state = {ours(key[6:]): torch.from_numpy(value) for key, value in arrays.items() if key.startswith("param.")}
    del state[IDLE]
    decoder.load_state_dict(state)
    decoder = decoder.to(dtype).eval()
    cells, ids = features.flatten(1, 2), torch.from_numpy(arrays["in.captions"])
    lengths = torch.from_numpy(arrays["in.lengths"])[:, 0] - 1
    mask = torch.arange(ids.shape[1] - 1) < lengths[:, None]
    logits, attention = decoder(cells, ids[:, :-1])
    cross_entropy = mean_over_words(*chosen_entropies(logits[mask], ids[:, 1:][mask], mask))
    penalty = uncovered(attention, mask).mean()
    loss = cross_entropy + float(arrays["hp.alpha_c"]) * penalty
    context, first = decoder.attention(cells, decoder.attention.of_cells(cells), decoder.start(cells).hidden)
    order = torch.from_numpy(arrays[f"out{precision}.sort_index"])  # they sort by length
    steps = arrays[f"out{precision}.scores"].shape[1]
    compared = {
        "scores": (logits * mask[..., None])[order, :steps],
        "alphas": (attention * mask[..., None])[order, :steps],
        "decode_lengths": lengths[order],
        "cross_entropy": cross_entropy,
        "doubly_stochastic": penalty,
        "loss": loss,
        "attention_first": first,
        "context_first": context,
    }
    outputs = {key.removeprefix(f"out{precision}."): arrays[key] for key in arrays if key.startswith(f"out{precision}")}
    assert set(outputs) == {*compared, "sort_index"}
    for name, value in compared.items():
        np.testing.assert_allclose(value.detach(), outputs[name], **TOLERANCE[precision], err_msg=name)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in decoder.named_parameters()}
    theirs = {
        key.removeprefix(f"grad{precision}."): arrays[key] for key in arrays if key.startswith(f"grad{precision}")
    }
    np.testing.assert_allclose(features.grad, theirs.pop("feature_map"), **TOLERANCE[precision])
    gradients[IDLE] = torch.zeros(1)
    assert {ours(name) for name in theirs} == set(gradients)
    for name, value in theirs.items():
        np.testing.assert_allclose(gradients[ours(name)], value, **TOLERANCE[precision], err_msg=name)
