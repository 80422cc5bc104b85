"""The cross-modality transformer: what it returns, padding, options, attention to regions."""

import pytest
import torch

from models.encoders.fusion.cross_modality import CrossModality, TextSequence


def inputs() -> tuple[torch.Tensor, TextSequence]:
    torch.manual_seed(1)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    return torch.randn(2, 4, 6), TextSequence(torch.randn(2, 5, 10), mask)


def cross(**options) -> CrossModality:
    torch.manual_seed(0)
    return CrossModality(6, 10, regions=3, context=7, width=8, layers=2, heads=2, **options)


def test_class_tokens_of_both_come_back():
    module, (image, text) = cross(), inputs()
    seen, read = module(image, text)
    assert seen.shape == read.shape == (2, 8)
    hidden = module.norm(
        module.layers(module._sequence(image[1:], TextSequence(text.tokens[1:, :3], text.mask[1:, :3])))
    )
    torch.testing.assert_close(seen[1], hidden[0, 0])
    torch.testing.assert_close(read[1], hidden[0, 4 + 3 - 1])  # its third token is its end


@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(training):
    module, (image, text) = cross(positions="learned").train(training), inputs()
    tokens = text.tokens.clone()
    tokens[1, 3:] = 1e3
    longer = TextSequence(tokens, text.mask).padded(7)
    with torch.set_grad_enabled(training):
        torch.testing.assert_close(module(image, longer), module(image, text))
        torch.testing.assert_close(module.attention(image, longer), module.attention(image, text))


def test_training_and_evaluation_agree():
    module, (image, text) = cross(), inputs()
    trained = module(image, text)
    with torch.no_grad():
        torch.testing.assert_close(module.eval()(image, text), tuple(part.detach() for part in trained))


def test_attention_is_that_of_the_last_layer():
    module, (image, text) = cross().eval(), inputs()
    attention = module.attention(image, text)
    assert attention.shape == (2, 3)
    assert (attention > 0).all()
    assert (attention.sum(1) < 1).all()  # the class token and the text get the rest
    hidden = module.layers.layers[0](module._sequence(image, text)[:1])
    last = module.layers.layers[1]
    hidden = last.norm1(hidden)
    own = last.self_attn(hidden, hidden, hidden, need_weights=True)[1]
    torch.testing.assert_close(attention[0], own[0, -1, 1:4])


def test_both_modalities_reach_both_outputs():
    module, (image, text) = cross(), inputs()
    image, tokens = image.requires_grad_(), text.tokens.requires_grad_()
    for output in module(image, TextSequence(tokens, text.mask)):
        for source in (image, tokens):
            (gradient,) = torch.autograd.grad(output.pow(2).sum(), source, retain_graph=True)
            assert gradient[0].abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"types": "none"}, set()),
        ({}, {"types"}),
        ({"positions": "learned"}, {"types", "image_positions", "text_positions"}),
    ],
)
def test_embeddings_are_options_and_count(options, names):
    module, (image, text) = cross(**options), inputs()
    own = {name for name, _ in module.named_parameters() if "." not in name}
    assert own == names
    # A plain sum behind a layer norm has no gradient but rounding.
    sum((part**3).sum() for part in module(image, text)).backward()
    assert all(module.get_parameter(name).grad.abs().sum() > 0 for name in names)


def test_mistakes():
    with pytest.raises(ValueError, match="positions of the cross-modality transformer are `none` or `learned`"):
        cross(positions="sinusoids")
    with pytest.raises(ValueError, match="cannot be shared among 3 heads"):
        CrossModality(6, 10, regions=3, context=7, width=8, heads=3)
