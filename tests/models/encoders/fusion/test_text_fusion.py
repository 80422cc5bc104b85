"""A fusion layer without an image to look at is BERT's layer, and with one a literal cross-attention."""

import pytest
import torch
from torch import nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLayer

from models.encoders.fusion.text_fusion import TextFusion

WIDTH, HEADS, MEMORY = 16, 2, 6


@pytest.fixture(scope="module")
def layers():
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=24, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return config, [BertLayer(config).double().eval() for _ in range(2)]


@pytest.fixture(scope="module")
def fusion(layers):
    torch.manual_seed(1)
    return TextFusion(*layers, MEMORY).double().eval()


def given(texts=3, length=5, places=4):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(texts, length, WIDTH, generator=generator, dtype=torch.float64)
    memory = torch.randn(texts, places, MEMORY, generator=generator, dtype=torch.float64)
    return hidden, torch.arange(length) < torch.tensor([[5], [3], [2]])[:texts], memory


@torch.no_grad()
def test_without_its_look_at_the_image_a_layer_is_that_of_bert(layers, fusion):
    hidden, mask, memory = given()
    expected = hidden
    for layer in layers[1]:
        expected = layer(expected, (~mask[:, None, None]).double() * torch.finfo(torch.float64).min)
    blind = TextFusion(*layers, MEMORY).double().eval()
    for layer in blind.layers:
        layer.cross = Nothing()
    torch.testing.assert_close(blind(hidden, mask, memory)[mask], expected[mask])
    assert not torch.allclose(fusion(hidden, mask, memory)[mask], expected[mask])


class Nothing(nn.Module):
    """A look that changes nothing."""

    def forward(self, hidden, memory):
        return hidden


@torch.no_grad()
def test_the_look_at_the_image_is_attention_of_heads(fusion):
    hidden, mask, memory = given()
    cross = fusion.layers[0].cross
    seen = torch.zeros_like(hidden)
    for text in range(3):
        query, key, value = cross.query(hidden[text]), cross.key(memory[text]), cross.value(memory[text])
        for part in torch.arange(WIDTH).chunk(HEADS):
            weights = (query[:, part] @ key[:, part].T / len(part) ** 0.5).softmax(1)
            seen[text][:, part] = weights @ value[:, part]
    torch.testing.assert_close(cross(hidden, memory), cross.norm(hidden + cross.output(seen)))
    attention = fusion.attention(hidden, mask, memory, layer=1)
    assert attention.shape == (3, 5, 4)
    torch.testing.assert_close(attention.sum(2), torch.ones(3, 5, dtype=torch.float64))
    inner = fusion.layers[1].own(fusion.layers[0](hidden, mask, memory), fusion.layers[0](hidden, mask, memory), mask)
    torch.testing.assert_close(attention, fusion.layers[1].cross.weights(inner, memory))


@torch.no_grad()
def test_padding_is_not_looked_at(fusion):
    hidden, mask, memory = given()
    changed = torch.where(mask[..., None], hidden, 7.0)
    torch.testing.assert_close(fusion(changed, mask, memory)[mask], fusion(hidden, mask, memory)[mask])


def test_gradients(fusion):
    hidden, mask, memory = given(texts=2, length=3, places=2)
    assert torch.autograd.gradcheck(
        lambda text, image: fusion(text, mask[:, :3], image)[mask[:, :3]],
        (hidden.requires_grad_(), memory.requires_grad_()),
    )
