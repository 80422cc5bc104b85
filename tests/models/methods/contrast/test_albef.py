"""ALBEF on tiny networks: momentum, queues, negatives, hidden words, and what its options change."""

import pytest
import torch
import torch.nn.functional as F

from models.methods.contrast import albef
from models.methods.contrast.albef import AlbefConfig
from models.registry import build_method
from tests.models.tiny import TINY, tiny_batch

PAIRS = 5


def network(**options):
    torch.manual_seed(0)
    return build_method("albef", {**TINY["albef"], **options}, [], 32).double()


@pytest.fixture(scope="module")
def model():
    return network().eval()


def texts(model, words):
    return model.texts.tokens(words, torch.device("cpu"))


def test_the_three_losses(model):
    torch.manual_seed(0)
    encoded = model.encode(tiny_batch(model, PAIRS))
    negatives = torch.tensor([1, 2, 3, 4, 0]), torch.tensor([2, 3, 4, 0, 1])
    logits = model.similarities(encoded)
    found = model.losses_of(encoded, logits, negatives)
    pairs = torch.arange(PAIRS)
    contrast = (F.cross_entropy(logits[0], pairs) + F.cross_entropy(logits[1], pairs)) / 2  # alpha is still 0
    assert found["contrast"].item() == pytest.approx(contrast.item())
    assert found["language"].item() == pytest.approx((encoded["word_sums"].sum() / encoded["word_counts"].sum()).item())
    total = 0.0
    for row in range(PAIRS):
        for text, image, matched in ((row, row, 1), (row, negatives[0][row], 0), (negatives[1][row], row, 0)):
            rows = slice(text, text + 1)
            pair = model.match(encoded["states"][rows], encoded["mask"][rows], encoded["patches"][image][None])
            total -= pair.log_softmax(1)[0, matched].item() / (3 * PAIRS)
    assert found["matching"].item() == pytest.approx(total)


def test_terms_can_be_left_out():
    batch = tiny_batch(network(), PAIRS)
    assert network(matching_weight=0, language_weight=0).losses(batch).keys() == {"contrast"}
    twice = network(contrast_weight=2.0).eval().losses(batch)["contrast"]
    assert twice.item() == pytest.approx(2 * network().eval().losses(batch)["contrast"].item())


def test_distillation_rises_in_the_first_epoch_and_changes_two_losses():
    model = network().eval()
    batch = tiny_batch(model, PAIRS)
    weights = []
    for epoch in (0.0, 0.25, 1.0, 3.0):
        model.on_gradients(epoch)
        weights.append(model.alpha.item())
    assert weights == pytest.approx([0, 0.1, 0.4, 0.4])
    encoded = model.encode(batch)
    thought = encoded["distilled_sums"].sum() / encoded["word_counts"].sum()
    truth = encoded["word_sums"].sum() / encoded["word_counts"].sum()
    found = model.losses_of(encoded, model.similarities(encoded), None)
    assert found["language"].item() == pytest.approx((0.4 * thought + 0.6 * truth).item())
    keys = model.similarities(encoded, "key_")
    targets = model.targets(encoded)
    for key, target in zip(keys, targets, strict=True):
        torch.testing.assert_close(target, 0.4 * key.softmax(1) + 0.6 * torch.eye(*key.shape, dtype=key.dtype))


def test_momentum_towers_follow_and_get_no_gradient():
    model = network(momentum=0.75)
    before = [weights.clone() for weights in model.average.parameters()]
    with torch.no_grad():
        for weights in model.towers.parameters():
            weights.add_(1)
    model.on_step_start()
    for old, mean, weights in zip(before, model.average.parameters(), model.towers.parameters(), strict=True):
        torch.testing.assert_close(mean, 0.75 * old + 0.25 * weights)
    sum(model.losses(tiny_batch(model, PAIRS)).values()).backward()
    assert all(weights.grad is None for weights in model.average.parameters())
    for name, weights in model.towers.named_parameters():
        assert name.endswith("key.bias") or (weights.grad is not None and weights.grad.any()), name


def test_queues_take_the_keys_of_a_step_in_training_alone():
    model = network(queue=8, equal_texts="positives")
    first, second = (tiny_batch(model, 3, seed=seed) for seed in (0, 1))
    start = model.image_queue.keys.clone()
    model.eval().losses(first)
    model.on_step_end()
    assert torch.equal(model.image_queue.keys, start)
    model.train()
    keys = []
    for batch in (first, second):  # two batches of one step
        keys.append(model.encode(batch))
        model.contrast(keys[-1])
    assert torch.equal(model.image_queue.keys, start)
    model.on_step_end()
    for queue, name in ((model.image_queue, "key_images"), (model.text_queue, "key_texts")):
        torch.testing.assert_close(queue.keys[:6], torch.cat([encoded[name] for encoded in keys]))
    assert torch.equal(model.queued_texts.keys[:6], torch.cat([encoded["fingerprints"] for encoded in keys]))
    assert not model.queued_texts.keys[6:].any()
    assert model.image_queue.place == 6


def test_equal_texts_are_positives_where_that_is_wanted(monkeypatch):
    drawn = []
    draw = albef.draw_negatives
    monkeypatch.setattr(albef, "draw_negatives", lambda *given: drawn.append(draw(*given)) or drawn[-1])
    for kind in ("negatives", "positives"):
        model = network(equal_texts=kind, negative_floor=1.0).train()
        batch = tiny_batch(model, 4)
        batch = type(batch)(batch.images, batch.tokens.apply(lambda tensor: tensor[[0, 0, 2, 3]]))
        drawn.clear()
        for _ in range(8):
            encoded = model.encode(batch)
            model.contrast(encoded)
        others = torch.stack(drawn)
        assert bool((others[:, 0] == 1).any()) == (kind == "negatives")
        share = 0.5 if kind == "positives" else 0.0
        assert [float(target[0, 1]) for target in model.targets(encoded)] == [share, share]
    model.on_step_end()  # 8 batches of 4: the queue of 24 holds the same 6 times
    for target in model.targets(encoded):
        assert target[0].tolist() == pytest.approx([1 / 14, 1 / 14, 0, 0, *[1 / 14, 1 / 14, 0, 0] * 6])


def test_the_temperature_is_kept_within_bounds():
    model = network()
    for start, kept in ((3.0, 0.5), (-1.0, 0.001)):
        model.temperature.data.fill_(start)
        model.on_step_start()
        assert model.temperature.item() == pytest.approx(kept)


@torch.no_grad()
def test_what_stands_for_a_text():
    tokens = (model := network(text_pooling="mean").eval()).texts.tokens(
        ["effusion", "no large nodule"], torch.device("cpu")
    )
    states = model.towers.text_encoder(tokens).tokens
    expected = [
        model.towers.text_projection(rows[there].mean(0)) for rows, there in zip(states, tokens.mask, strict=True)
    ]
    torch.testing.assert_close(model.towers.read(tokens).vectors, F.normalize(torch.stack(expected), dim=1))
    seen = model.towers.see(model.prepare(tiny_batch(model, 2).images))
    fused = model.towers.fusion(states, tokens.mask, seen.tokens)
    means = torch.stack([rows[there].mean(0) for rows, there in zip(fused, tokens.mask, strict=True)])
    torch.testing.assert_close(model.match(states, tokens.mask, seen.tokens), model.matching(means))


@torch.no_grad()
def test_a_single_pair_is_only_matched(model):
    encoded = model.encode(tiny_batch(model, 1))
    found = model.contrast(encoded)["matching"]
    assert found.item() == pytest.approx(-encoded["matched"].log_softmax(1)[0, 1].item())


@torch.no_grad()
def test_a_pair_is_encoded_alike_in_every_batch(model):
    batch = tiny_batch(model, 3)
    whole = model.encode(batch)
    longest = int(batch.tokens.mask[1].sum())
    alone = batch.part(slice(1, 2))
    alone = type(batch)(alone.images, alone.tokens.apply(lambda tensor: tensor[:, :longest]))
    for name, values in model.encode(alone).items():
        if name not in ("states", "mask"):
            torch.testing.assert_close(values[0], whole[name][1], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_answers(model):
    images = tiny_batch(model, 3).images
    phrases = ["Small effusion on the left.", "edema", "no nodule"]
    answer = model.zero_shot(images, ["Edema", "No Finding"])
    assert answer.scores.shape == (3, 2)
    assert answer.maps.shape == (3, 2, 4, 4)
    maps = model.phrase_maps(images, phrases)
    assert maps.shape == (3, 4, 4)
    assert maps.min() > 0
    assert (maps.sum((1, 2)) < 1).all()  # the class token has a share
    torch.testing.assert_close(maps[1:2], model.phrase_maps(images[1:2], phrases[1:2]))
    assert model.image_features(images).shape == (3, 32)


@torch.no_grad()
def test_the_nearest_texts_are_ranked_by_the_matching(model):
    images, phrases = tiny_batch(model, 3).images, ["small effusion", "edema", "no nodule", "lungs are clear"]
    ranking = network(rerank=2).eval()
    plain, ranked = model.similarity(images, phrases), ranking.similarity(images, phrases)
    ranking.text_batch = 3  # texts are read in parts
    torch.testing.assert_close(ranking.similarity(images, phrases), ranked)
    for row in range(3):
        nearest = plain[row].topk(2).indices.tolist()
        for column, phrase in enumerate(phrases):
            if column not in nearest:
                assert ranked[row, column].item() == pytest.approx(plain[row, column].item())
                continue
            tokens = texts(model, [phrase])
            seen, read = model.towers.see(model.prepare(images[row : row + 1])), model.towers.read(tokens)
            logits = model.match(read.states, tokens.mask, seen.tokens)
            assert ranked[row, column].item() == pytest.approx(1 + logits.softmax(1)[0, 1].item(), abs=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"equal_texts": "masked"}, "equal_texts is `negatives` or `positives`"),
        ({"momentum": 1.5}, "momentum is 1.5"),
        ({"temperature": 0.9}, "temperature is 0.9"),
        (dict.fromkeys(("contrast_weight", "matching_weight", "language_weight"), 0.0), "nothing is left to train"),
        ({"rerank": 8, "matching_weight": 0.0}, "rerank is 8, but matching_weight is 0"),
        ({"masked_share": 0.0}, "masked_share is 0, which hides no word; set language_weight to 0"),
    ],
)
def test_mistakes_are_one_sentence(options, said):
    with pytest.raises(ValueError, match=said):
        AlbefConfig(**options)


def test_a_text_layer_has_to_be_left():
    with pytest.raises(ValueError, match="fusion_layers is 3, but the text encoder has 3 layers"):
        network(fusion_layers=3)
