"""Both captioners on tiny networks: their losses word by word, what they write, and what their options change."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from models.method import Batch, Tokens
from models.registry import build_method
from tests.models.tiny import TINY

NAMES = ("caption_lstm", "caption_transformer")
TEXTS = ["no effusion", "there is a small left pleural effusion and the heart is large", "lungs are clear"]
EACH = pytest.mark.parametrize("name", NAMES)


def network(name, **options):
    torch.manual_seed(0)
    return build_method(name, {**TINY[name], "maximum_tokens": 40, **options}, [], 32)


def batch(model, texts=TEXTS, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (len(texts), 1, 32, 32), generator=generator, dtype=torch.uint8)
    return Batch(images, model.texts.tokenizer(texts))


def said(model, images, ids):
    """Logarithms of the probabilities of the words of one text, each after the true ones before it."""
    cells = model.cells(images)
    state, found = model.decoder.begin(cells), []
    for before, word in pairwise(ids):
        logits, state = model.decoder.follow(state, torch.tensor([before]))
        found.append(float(logits[0].double().log_softmax(-1)[word]))
    return found


@EACH
def test_the_loss_is_that_of_the_words_one_by_one(name):
    model = network(name).double().eval()
    given = batch(model)
    found = []
    with torch.no_grad():
        for row, text in enumerate(TEXTS):
            found += said(model, given.images[[row]], model.texts.tokenizer.encode([text])[0])
        losses = model.losses(given)
    assert losses["words"].item() == pytest.approx(-sum(found) / len(found), abs=1e-9)


@EACH
def test_padding_changes_nothing(name):
    model = network(name).double().eval()
    given = batch(model)
    tokens = given.tokens
    longer = Tokens(torch.nn.functional.pad(tokens.ids, (0, 9), value=7), torch.nn.functional.pad(tokens.mask, (0, 9)))
    with torch.no_grad():
        for key, value in model.encode(given).items():
            torch.testing.assert_close(model.encode(replace(given, tokens=longer))[key], value, msg=key)


@EACH
def test_a_pair_is_told_without_the_others(name):
    model = network(name).double().eval()
    given = batch(model)
    with torch.no_grad():
        together = model.encode(given)
        alone = [model.encode(given.part(slice(row, row + 1))) for row in range(3)]
    for key, value in together.items():
        torch.testing.assert_close(torch.cat([part[key] for part in alone]), value, msg=key)


@EACH
def test_every_weight_is_trained(name):
    model = network(name, image_encoder="vit/1x8p16").train()
    sum(model.losses(batch(model)).values()).backward()
    still = {key for key, weights in model.named_parameters() if weights.grad is None or not weights.grad.any()}
    # adding the same to all keys changes no attention
    assert {key for key in still if not key.endswith("key.bias")} == set()


@EACH
def test_gradients(name):
    model = network(name, image_encoder="vit/1x8p16").double().eval()
    given = batch(model)
    weights = [parameter for key, parameter in model.named_parameters() if "decoder" in key and parameter.ndim == 1]

    def loss(*_):
        return torch.stack(list(model.losses(given).values())).sum()

    assert torch.autograd.gradcheck(loss, [weights[0], weights[-1]], fast_mode=True)


@EACH
def test_a_report_is_learned_and_written(name):
    wider = {"hidden": 32, "embedding": 32, "coverage": 0.0} if name == "caption_lstm" else {"width": 32}
    model = network(name, dropout=0.0, maximum_tokens=20, image_encoder="vit/1x8p16", **wider)
    given = batch(model)
    given = replace(given, images=given.images // 8 + torch.tensor([0, 100, 200], dtype=torch.uint8).view(3, 1, 1, 1))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        sum(model.losses(given).values()).backward()
        optimizer.step()
    model.eval()
    assert model.write_reports(given.images) == TEXTS
    assert model.write_reports(given.images, beam=3) == TEXTS
    assert model.write_reports(given.images[[2]]) == TEXTS[2:]
    with pytest.raises(ValueError, match=f"{name}: beam is 0, but one beginning"):
        model.write_reports(given.images, beam=0)


@EACH
def test_a_report_ends(name):
    model = network(name, maximum_tokens=6).eval()
    for beam in (1, 2):
        texts = model.write_reports(batch(model).images, beam)
        assert [isinstance(text, str) for text in texts] == [True] * 3
        assert max(len(model.tokenizer.encode([text])[0]) for text in texts) <= 8


@EACH
def test_features_and_maps(name):
    model = network(name).eval()
    with torch.no_grad():
        features = model.image_features(batch(model).images)
        maps = model.image_maps(batch(model).images)
    assert features.shape == (3, model.image_encoder.dim)
    assert maps[-1].shape[:2] == (3, model.image_encoder.local_dim)
    for question in (model.zero_shot, model.similarity, model.phrase_maps):
        with pytest.raises(NotImplementedError):
            question(batch(model).images, ["edema"])


@EACH
def test_dropout_is_of_training_alone(name):
    model = network(name, dropout=0.4)
    given = batch(model)
    with torch.no_grad():
        drawn = [model.train().encode(given)["sums"] for _ in range(2)]
        kept = [model.eval().encode(given)["sums"] for _ in range(2)]
    assert not torch.equal(*drawn)
    assert torch.equal(*kept)


def test_the_penalty_can_be_left_out():
    given = batch(network("caption_lstm"))
    with torch.no_grad():
        whole, half, none = (
            network("caption_lstm", coverage=weight).eval().losses(given) for weight in (1.0, 0.5, 0.0)
        )
    assert half["coverage"].item() == pytest.approx(whole["coverage"].item() / 2)
    assert set(none) == {"words"}


def test_what_is_read():
    model = network("caption_transformer", cleaning="words", sections="impression")
    assert model.texts.unit == "report"
    assert model.texts.sections == ("impression",)
    tokens = model.texts.tokens(["No Effusion."], torch.device("cpu"))
    assert model.tokenizer.decode(tokens.ids[0, 1:].tolist()) == "no effusion"


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("caption_lstm", {"dropout": 1.0}, "dropout is 1.0"),
        ("caption_transformer", {"width": 15}, "width is 15"),
        ("caption_transformer", {"layers": 0}, "layers is 0"),
        ("caption_transformer", {"dropout": -0.1}, "dropout is -0.1"),
        ("caption_lstm", {"cleaning": "all"}, "cleaning of captions is"),
        ("caption_transformer", {"maximum_tokens": 2}, "maximum_tokens is 2"),
    ],
)
def test_mistakes_are_one_sentence(name, options, said):
    with pytest.raises(ValueError, match=said):
        network(name, **options)
