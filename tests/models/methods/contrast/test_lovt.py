"""LoVT on tiny networks: its losses, its sentences, and what its options change."""

import pytest
import torch
import torch.nn.functional as F

from models.method import Batch
from models.methods.contrast.lovt import LovtConfig, exchanged_order
from models.registry import build_method
from models.text.sentences import read_sentences
from tests.models.tiny import TINY

REPORTS = ["The heart is large. There is no effusion. A nodule.", "Lungs are clear.", "Small nodule. No edema today."]
LOCAL = ("regions", "seen_by_regions", "sentences", "seen_by_sentences")


def network(**options):
    torch.manual_seed(0)
    return build_method("lovt", {**TINY["lovt"], **options}, [], 32).double()


def batch(model, rows=slice(None)):
    """The pairs, padded as they need it together."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (3, 1, 32, 32), generator=generator, dtype=torch.uint8)
    return Batch(images[rows], read_sentences(model.texts, REPORTS[rows], torch.device("cpu")))


@pytest.fixture(scope="module")
def model():
    return network().eval()


def test_terms_are_weighted(model):
    found, encoded = model.losses(batch(model)), model.encode(batch(model))
    assert found.keys() == {"images", "reports", *LOCAL}
    cosines = F.normalize(encoded["images"], dim=1) @ F.normalize(encoded["reports"], dim=1).T / 0.1
    assert found["images"].item() == pytest.approx(0.75 * F.cross_entropy(cosines, torch.arange(3)).item())
    assert found["reports"].item() == pytest.approx(0.25 * F.cross_entropy(cosines.T, torch.arange(3)).item())
    for name in LOCAL:
        assert found[name].item() == pytest.approx(0.375 * encoded[name].mean().item())
    assert encoded["sentences"][1] == 0  # a report of one sentence
    assert network(region_weight=0, sentence_weight=0).losses(batch(model)).keys() == {"images", "reports"}
    assert network(image_weight=0, report_weight=0, region_weight=0).losses(batch(model)).keys() == set(LOCAL[2:])


@torch.no_grad()
def test_a_pair_is_encoded_alike_in_every_batch(model):
    whole = model.encode(batch(model))
    for row in range(3):
        alone = model.encode(batch(model, slice(row, row + 1)))
        for name, values in alone.items():
            torch.testing.assert_close(values[0], whole[name][row], rtol=1e-9, atol=1e-9)
    code = network(missing_sentences="zeros").eval()
    apart = code.encode(batch(code, slice(2, 3)))["reports"][0] - code.encode(batch(code))["reports"][2]
    assert apart.abs().max() > 1e-9  # the query shrinks


@torch.no_grad()
def test_missing_sentences_stay_out_of_batch_norm():
    given = batch(model := network(swap_probability=0.0).train(), slice(1, 3))  # one and two sentences
    longer = Batch(given.images, given.tokens.apply(lambda tensor: F.pad(tensor, (0, 0, 0, 4))))
    torch.testing.assert_close(model.eval().encode(given), model.encode(longer))
    model.train()
    torch.manual_seed(0)
    short = model.align(model.see(model.prepare(given.images)), model.read(given.tokens))
    torch.manual_seed(0)
    long = model.align(model.see(model.prepare(longer.images)), model.read(longer.tokens))
    torch.testing.assert_close(short, long)


def test_every_part_is_trained():
    model = network().train()
    sum(model.losses(batch(model)).values()).backward()
    for name, weights in model.named_parameters():
        # adding the same to all keys changes no attention, and a bias before a batch norm nothing at all
        without = name.endswith(("key.bias", "hidden.bias")) or name == "look.output.bias"
        assert without or (weights.grad is not None and weights.grad.any()), name


@pytest.mark.parametrize(
    "options",
    [
        {"place_weights": "uniform"},
        {"near": 0.0},
        {"decay": 4.0},
        {"same_modality": True},
        {"local_temperature": 0.1},
        {"sentence_pooling": "mean"},
    ],
)
@torch.no_grad()
def test_options_change_the_loss(model, options):
    found, expected = network(**options).eval().losses(batch(model)), model.losses(batch(model))
    assert sum(found.values()) != pytest.approx(sum(expected.values()).item(), rel=1e-6)


def test_sentences_change_places_in_training():
    torch.manual_seed(0)
    order = exchanged_order(torch.tensor([1, 2, 4] * 400), 4, 0.6)
    assert torch.equal(order.sort(1).values, torch.arange(4).expand_as(order))
    assert torch.equal(order[::3], torch.arange(4).expand(400, 4))  # nobody to change places with
    assert (order[1::3, 2:] == torch.arange(2, 4)).all()
    assert (order[2::3] != torch.arange(4)).any(1).float().mean().item() == pytest.approx(0.55, abs=0.08)
    assert torch.equal(exchanged_order(torch.tensor([4, 4]), 4, 0.0), torch.arange(4).expand(2, 4))


@torch.no_grad()
def test_answers(model):
    images = batch(model).images
    answer = model.zero_shot(images, ["Edema", "No Finding"])
    assert answer.scores.shape == (3, 2)
    assert answer.maps.shape == (3, 2, 4, 4)
    assert 0 <= answer.maps.min() <= answer.maps.max() <= 1
    assert model.phrase_maps(images, REPORTS).shape == (3, 4, 4)
    similarity = model.similarity(images, REPORTS)
    torch.testing.assert_close(similarity[:, 1:2], model.similarity(images, REPORTS[1:2]))
    assert not torch.allclose(similarity[:, 0], model.similarity(images, [REPORTS[0].replace(".", "")])[:, 0])
    assert model.image_features(images).shape == (3, 32)


@torch.no_grad()
def test_maps_are_of_heads_that_are_trained():
    model = network(region_weight=0.0, sentence_weight=0.0).eval()
    for head in (model.region_head, model.sentence_head):  # which no loss reaches
        for weights in head.parameters():
            weights.fill_(torch.nan)
    images = batch(model).images
    features = model.image_encoder(model.prepare(images))
    region = features.local[1, 2].expand(1, 1, -1)
    expected = model.image_head(model.image_pooling(region, torch.ones(1, 1, dtype=torch.bool))[0])[0]
    _, regions, _ = model.project_images(model.prepare(images))
    torch.testing.assert_close(regions[1, 2], expected)
    sentence = model.embed_texts(["There is edema."])[0]
    maps = model.phrase_maps(images, ["There is edema."] * len(images))
    torch.testing.assert_close(maps[1, 0, 2], (1 + F.cosine_similarity(expected.float(), sentence, 0)) / 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"missing_sentences": "code"}, "missing_sentences is `left_out` or `zeros`"),
        ({"local_temperature": 0.0}, "local_temperature divides"),
        ({"swap_probability": 1.0}, "swap_probability is 1"),
        (dict.fromkeys(("image_weight", "report_weight", "region_weight", "sentence_weight"), 0.0), "all four weights"),
    ],
)
def test_mistakes_are_one_sentence(options, said):
    with pytest.raises(ValueError, match=said):
        LovtConfig(**options)


def test_heads_divide_the_encoders_widths():
    with pytest.raises(ValueError, match="heads is 3, but must divide the encoder's width of"):
        network(heads=3)
