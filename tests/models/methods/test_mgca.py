"""MGCA: what its defaults do, that each option changes something, and that they lack the faults of the code."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from models.encoders.image import ImageFeatures
from models.encoders.text import TextFeatures
from models.method import Batch, Tokens
from models.methods.mgca.config import MgcaConfig
from models.methods.mgca.network import build
from models.registry import recipe
from tests.models.tiny import tiny_method

SMALL = {
    "image_encoder": "vit/1x32p16", "image_weights": "", "text_encoder": "bert/2x32", "text_length": 24, "dim": 16,
    "hidden": 24, "prototypes": 10,
}  # fmt: skip
RESIDUAL = {"image_encoder": "resnet10t", "image_stage": 3, "upsampled": 48}
TEXTS = ["small left effusion", "the heart is enlarged", "no pneumothorax", "cardiomegaly is unchanged since before"]


def mgca(**options):
    torch.manual_seed(0)
    return build({**SMALL, **options}, [], 32)


def batch(model, texts=TEXTS):
    torch.manual_seed(1)
    return Batch(torch.randint(0, 256, (len(texts), 1, 32, 32), dtype=torch.uint8), model.texts.tokenizer(texts))


def without_chance(model):
    """Training mode, where batch norm looks at the batch, without dropout."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


@pytest.mark.parametrize("branch", [{}, RESIDUAL], ids=["transformer", "residual"])
def test_every_parameter_learns(branch):
    """The code's cross-attention gets no gradient, and its word head is fed with padding."""
    model = mgca(**branch)
    terms = model.losses(batch(model))
    assert set(terms) == {"instance", "words", "patches", "prototype"}
    sum(terms.values()).backward()
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert unused == []


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        ({"token_weight": 0, "prototype_weight": 0}, {"instance"}),
        ({"token_weight": 0}, {"instance", "prototype"}),
        ({"prototype_weight": 0}, {"instance", "words", "patches"}),
        ({"instance_weight": 0, "bidirectional": False}, {"words", "prototype"}),
    ],
)
def test_ablations_of_table_4_leave_no_parameter_behind(options, terms):
    model = mgca(**options)
    losses = model.losses(batch(model))
    assert set(losses) == terms
    sum(losses.values()).backward()
    model.on_gradients(0.0)
    if options.get("instance_weight", 1):
        assert all(p.grad is not None for name, p in model.named_parameters() if "prototypes" not in name)
    model.eval()
    assert model.zero_shot(batch(model).images, ["edema"]).maps.shape[:2] == (4, 1)


@pytest.mark.parametrize("options", [{}, RESIDUAL, {"token_weights": "clipped", "attention_heads": 0}])
def test_padding_changes_nothing(options):
    """Neither as a negative, nor through batch norm, nor as something to look at."""
    model = without_chance(mgca(**options))
    pairs = batch(model)
    tokens = Tokens(*(F.pad(part, (0, 6)) for part in (pairs.tokens.ids, pairs.tokens.mask)))
    encoded, longer = model.encode(pairs), model.encode(dataclasses.replace(pairs, tokens=tokens))
    for name, tensor in encoded.items():
        torch.testing.assert_close(longer[name], tensor, rtol=1e-3, atol=1e-4)


def test_padding_kept_as_negatives_is_that_of_the_longest_report_there_may_be():
    results = []
    for extra in (0, 5):
        model = without_chance(mgca(padding="negatives"))
        pairs = batch(model)
        tokens = Tokens(*(F.pad(part, (0, extra)) for part in (pairs.tokens.ids, pairs.tokens.mask)))
        results.append(model.encode(dataclasses.replace(pairs, tokens=tokens))["words"])
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)
    model = without_chance(mgca())
    assert (results[0] > model.encode(batch(model))["words"]).any()


def test_words_have_their_own_attention_and_the_separator_is_none():
    model = mgca().eval()
    tokens = model.texts.tokenizer(["cardiomegaly zzyzx", "no"])
    pieces = tokens.ids.shape[1]
    attention = torch.arange(1.0, pieces + 1).expand(2, 1, pieces) / 10
    states = torch.ones(2, pieces, 32)
    report = model.report_of(TextFeatures((states,), attention), tokens)
    assert report.mask.sum(1).tolist() == [2, 1]
    inside = tokens.mask.sum(1) - 2
    assert report.words[..., 0].sum(1).tolist() == inside.tolist()
    torch.testing.assert_close(report.attention.sum(1), torch.stack([attention[0, 0, 1 : 1 + n].sum() for n in inside]))
    shifted = mgca(words="shifted").report_of(TextFeatures((states,), attention), tokens)
    assert shifted.mask.sum(1).tolist() == [3, 2]
    assert not torch.equal(shifted.attention, report.attention)


def test_losses_do_not_change_what_they_are_given():
    model = mgca(token_weights="clipped").eval()
    tokens = batch(model).tokens
    report = model.read(tokens)
    before = report.attention.clone()
    images = ImageFeatures(torch.randn(4, 32), torch.randn(4, 4, 32), (2, 2), torch.rand(4, 4))
    model.represent(images, report)
    assert torch.equal(report.attention, before)


def test_a_text_without_words_is_finite_and_aligns_nothing():
    model = mgca()
    encoded = model.encode(batch(model, ["", "effusion", "", "edema"]))
    assert (encoded["words"][[0, 2]] == 0).all()
    assert (encoded["patches"][[0, 2]] == 0).all()
    sum(model.contrast(encoded).values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_prototypes_have_unit_length_and_stay_for_an_epoch():
    model = mgca()
    with torch.no_grad():
        model.prototypes.weight.mul_(3)
    losses = model.losses(batch(model))
    torch.testing.assert_close(model.prototypes.weight.norm(dim=1), torch.ones(10))
    losses["prototype"].backward()
    model.on_gradients(1.0)
    assert model.prototypes.weight.grad is not None
    model.on_gradients(0.99)
    assert model.prototypes.weight.grad is None


def values(**options):
    model = without_chance(mgca(**options))
    with torch.no_grad():
        return {name: loss.item() for name, loss in model.losses(batch(model)).items()}


@pytest.fixture(scope="module")
def default_losses():
    return values()


@pytest.mark.parametrize(
    "options",
    [
        {"instance_temperature": 0.07}, {"token_temperature": 0.1}, {"prototype_temperature": 0.1},
        {"directions": "sum"}, {"bidirectional": False}, {"attention_heads": 2}, {"attention_heads": 0},
        {"token_weights": "clipped"}, {"words": "shifted"}, {"padding": "negatives"}, {"normalised_words": False},
        {"epsilon": 0.1}, {"sinkhorn_iterations": 1}, {"contrasted": 2}, {"instance_weight": 2.0},
        {"token_weight": 0.7}, {"prototype_weight": 0.5}, {"text_layers": 1}, {"text_length": 4},
        {"token_positions": False}, {"channels": 3},
    ],
    ids=str,
)  # fmt: skip
def test_each_option_changes_the_losses(options, default_losses):
    assert values(**options) != default_losses


def test_short_reports_are_left_out_as_in_the_code_by_the_recipe_alone():
    assert mgca().texts.minimum_report_words == 0
    assert mgca(**recipe("mgca")["method_config"]).texts.minimum_report_words == 3


def test_without_positions_the_order_of_words_is_not_known():
    """The released code passes the types of tokens for their positions."""
    orders = ["small left effusion", "effusion left small"]
    for positions in (True, False):
        model = mgca(token_positions=positions).eval()
        with torch.no_grad():
            first, second = model.embed_texts(orders)
        assert torch.allclose(first, second, atol=1e-6) == (not positions)


def test_the_attention_temperature_is_that_of_cosines():
    first, second = (mgca(attention_heads=0, attention_temperature=value).eval() for value in (0.1, 1.0))
    assert not torch.equal(*(model.encode(batch(model))["words"] for model in (first, second)))


def test_pairs_contrasted_apart_are_the_mean_of_their_parts():
    model = mgca(contrasted=2)
    whole = mgca()
    encoded = {"images": torch.randn(4, 16), "reports": torch.randn(4, 16)}
    terms = model.contrast(encoded)
    for name in ("instance", "prototype"):
        parts = [whole.contrast({key: value[rows] for key, value in encoded.items()})[name]
                 for rows in (slice(2), slice(2, 4))]  # fmt: skip
        torch.testing.assert_close(terms[name], torch.stack(parts).mean())


class NoWaiting(TorchDispatchMode):
    """Refuses what makes a GPU wait for its host: values read, and shapes that depend on values."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "equal"), f"{name} waits for the device"
        if name == "index":
            assert not any(index is not None and index.dtype == torch.bool for index in arguments[1])
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("options", [{}, {"attention_heads": 0, "token_weights": "clipped", "words": "shifted"}])
def test_no_step_waits_for_the_device(options):
    model = mgca(**options)
    pairs = batch(model)
    images, report = model.image_encoder(model.prepare(pairs.images), attention=True), model.read(pairs.tokens)
    with NoWaiting():
        report = model.report_of(TextFeatures((report.vector[:, None].expand(-1, pairs.tokens.ids.shape[1], -1),),
                                              torch.rand(4, 1, pairs.tokens.ids.shape[1])), pairs.tokens)  # fmt: skip
        sum(model.contrast(model.represent(images, report)).values()).backward()


@pytest.mark.parametrize("branch", [{}, RESIDUAL], ids=["transformer", "residual"])
def test_answers(branch):
    model = mgca(**branch).eval()
    images = torch.randint(0, 256, (3, 1, 40, 40), dtype=torch.uint8)
    with torch.no_grad():
        assert model.prepare(images).shape[-1] == (48 if branch else 32)
        answers = model.zero_shot(images, ["Pleural Effusion", "No Finding"])
        assert answers.scores.shape == (3, 2)
        assert ((answers.scores > 0) & (answers.scores < 1)).all()
        grid = model.image_encoder(model.prepare(images)).grid
        assert answers.maps.shape == (3, 2, *grid)
        torch.testing.assert_close(answers.maps.sum((2, 3)), torch.ones(3, 2))
        seen = model.word_attention(images, TEXTS[:3])
        assert seen.shape == (3, seen.shape[1], *grid)
        torch.testing.assert_close(seen.sum((2, 3))[:, :2], torch.ones(3, 2))
        assert model.similarity(images, TEXTS).shape == (3, 4)
        assert model.image_features(images).shape == (3, model.image_encoder.dim)
        torch.testing.assert_close(model.embed_texts(["No EDEMA."]), model.embed_texts(["no edema"]))


def test_grey_levels_reach_the_network_from_minus_one_to_one_cut_from_the_centre():
    model = mgca()
    model.fit = "crop"
    images = torch.zeros(1, 1, 64, 64)
    images[..., 16:48, 16:48] = 255
    torch.testing.assert_close(model.prepare(images), torch.ones(1, 1, 32, 32))
    torch.testing.assert_close(model.prepare(torch.zeros(1, 1, 32, 32)), -torch.ones(1, 1, 32, 32))


def test_words_that_were_never_trained_to_look_are_not_asked():
    model = mgca(token_weight=0)
    with pytest.raises(ValueError, match="token_weight of 0"):
        model.word_attention(torch.zeros(1, 1, 32, 32), ["edema"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"directions": "max"}, "directions is mean or sum"),
        ({"token_weights": "all"}, "token_weights is attention or clipped"),
        ({"words": "all"}, "words is own or shifted"),
        ({"padding": "kept"}, "padding is masked or negatives"),
        ({"token_temperature": 0}, "token_temperature divides"),
        ({"instance_weight": 0, "token_weight": 0, "prototype_weight": 0}, "nothing is left to train"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        MgcaConfig(**options)


def test_the_defaults_are_the_papers():
    config = MgcaConfig()
    assert (config.instance_temperature, config.token_temperature, config.prototype_temperature) == (0.1, 0.07, 0.2)
    assert (config.instance_weight, config.token_weight, config.prototype_weight) == (1, 1, 1)
    assert (config.prototypes, config.epsilon, config.sinkhorn_iterations, config.dim) == (500, 0.05, 3, 128)


def test_a_saved_one_needs_no_weights():
    model = mgca()
    again = build({**SMALL, "image_weights": "imagenet"}, [], 32, model.state_dict())
    again.load_state_dict(model.state_dict())


def test_weights_of_earlier_versions_load():
    method = tiny_method("mgca")
    saved = {name.replace("image_head.", "film_head."): value for name, value in method.state_dict().items()}
    assert saved.keys() != method.state_dict().keys()
    other = tiny_method("mgca")
    torch.nn.init.zeros_(next(other.image_head.parameters()))
    other.load_state_dict(saved)
    assert all(torch.equal(other.state_dict()[name], value) for name, value in method.state_dict().items())
