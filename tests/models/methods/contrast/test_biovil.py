"""BioViL on tiny networks: its four losses, what is hidden and shuffled, its prompts and its maps."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from models.losses.info_nce import info_nce, matched_pairs
from models.method import Batch, Tokens
from models.methods.contrast.biovil import BiovilConfig
from models.registry import build_method
from tests.models.tiny import TINY

FINDINGS = ["The heart is large. There is no effusion.", "Lungs are clear.", "", "Small nodule on the left. No edema."]
IMPRESSIONS = ["Cardiomegaly.", "", "No acute process.", "Left nodule."]


def network(**options):
    torch.manual_seed(0)
    return build_method("biovil", {**TINY["biovil"], **options}, [], 32)


def batch(model, rows=slice(None)):
    """Reports with both sections, one, or the other."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (4, 1, 32, 32), generator=generator, dtype=torch.uint8)
    tokens = model.tokenizer([text for pair in zip(FINDINGS, IMPRESSIONS, strict=True) for text in pair])
    tokens = tokens.apply(lambda tensor: tensor.unflatten(0, (4, 2)))
    absent = torch.tensor([[not text for text in pair] for pair in zip(FINDINGS, IMPRESSIONS, strict=True)])[..., None]
    tokens = Tokens(tokens.ids.masked_fill(absent, model.tokenizer.pad), tokens.mask & ~absent)
    return Batch(images, tokens).part(rows)


@pytest.fixture(scope="module")
def model():
    return network().double().eval()


def vector(model, text):
    return model.project_texts(model.tokenizer([text]))[0]


@torch.no_grad()
def test_an_image_is_contrasted_with_its_impression_or_else_its_findings(model):
    given = batch(model)
    encoded = model.encode(given)
    texts = [IMPRESSIONS[0], FINDINGS[1], IMPRESSIONS[2], IMPRESSIONS[3]]
    torch.testing.assert_close(encoded["texts"], torch.stack([vector(model, text) for text in texts]))
    first = network(image_section="first").double().eval().encode(given)["texts"]
    texts = [FINDINGS[0], FINDINGS[1], IMPRESSIONS[2], FINDINGS[3]]
    torch.testing.assert_close(first, torch.stack([vector(model, text) for text in texts]))
    loss = model.contrast(encoded)["global"]
    assert loss.item() == pytest.approx(0.5 * info_nce(encoded["images"], encoded["texts"], 0.5, 1, 1).item())


@torch.no_grad()
def test_the_vector_of_an_image_is_the_mean_of_its_projected_patches(model):
    images = model.prepare(batch(model).images)
    assert (images.min(), images.max()) == (0, 1)  # no mean and deviation
    features = model.image_encoder(images)
    maps = features.local.transpose(1, 2).unflatten(2, features.grid)
    pooled, patches, grid = model.project_images(images)
    torch.testing.assert_close(pooled, model.patch_projection(maps).mean((2, 3)))
    torch.testing.assert_close(patches[1, grid[1] + 2], model.patch_projection(maps)[1, :, 1, 2])
    assert not torch.allclose(pooled, model.patch_projection(maps.mean((2, 3), keepdim=True))[..., 0, 0])


@torch.no_grad()
def test_sections_match_within_the_reports_that_have_both(model):
    loss = model.losses(batch(model))["sections"].item()
    vectors = [[vector(model, texts[row]) for row in (0, 3)] for texts in (FINDINGS, IMPRESSIONS)]
    logits = torch.stack([torch.stack([F.cosine_similarity(f, i, 0) / 0.5 for i in vectors[1]]) for f in vectors[0]])
    expected = sum(-logits.log_softmax(axis)[row, row] / 2 for axis in (0, 1) for row in (0, 1))
    assert loss == pytest.approx(expected.item(), abs=1e-9)
    assert model.losses(batch(model, slice(1, 3)))["sections"] == 0  # nobody has both


@torch.no_grad()
def test_hidden_tokens_are_told_from_what_is_left(model):
    given = batch(model)
    encoded = model.encode(given)
    masked = model.masking(given.tokens, model.masking.draw(given.tokens, training=False))
    sums, counts = torch.zeros(4, dtype=torch.float64), torch.zeros(4)
    for row, section in np.ndindex(4, 2):
        length = int(given.tokens.mask[row, section].sum())
        if length:
            alone = masked.tokens.apply(lambda tensor, at=(row, section), end=length: tensor[at][None, :end])
            logits = model.language_head(model.text_encoder(alone).tokens, model.embeddings)[0].log_softmax(-1)
            for place in range(length):
                if masked.hidden[row, section, place]:
                    sums[row] -= logits[place, given.tokens.ids[row, section, place]]
                    counts[row] += 1
    assert counts.sum() > 0
    torch.testing.assert_close(encoded["language_sums"], sums)
    torch.testing.assert_close(encoded["language_counts"].float(), counts)
    loss = model.contrast(encoded)["language"]
    assert loss.item() == pytest.approx(0.1 * sums.sum().item() / counts.sum().item())


@torch.no_grad()
def test_pieces_look_for_their_patches_as_in_gloria(model):
    given = batch(model)
    encoded = model.encode(given)
    text = model.tokenizer([IMPRESSIONS[3]])
    words = model.text_projection(model.text_encoder(text).tokens[0, 1:-1])
    assert encoded["word_mask"][3].sum() == len(words)
    regions = encoded["patches"][1]
    scores = []
    for word in words:
        seen = (regions @ word / 0.25).softmax(0) @ regions
        scores.append(F.cosine_similarity(seen, word, 0) / 0.2)
    found = model.word_region(encoded["patches"], encoded["words"], encoded["word_mask"])
    torch.testing.assert_close(found[1, 3], torch.stack(scores).logsumexp(0))
    loss = model.contrast(encoded)["local"].item()
    assert loss == pytest.approx(0.1 * matched_pairs(found / 0.1, 1, 1).item())


@torch.no_grad()
def test_a_pair_is_encoded_without_the_others(model):
    given = batch(model)
    together = model.encode(given)
    alone = [model.encode(given.part(slice(row, row + 1))) for row in range(4)]
    assert {"patches", "words", "language_sums"} <= set(together)
    for key, value in together.items():
        joined = torch.cat([part[key] for part in alone])
        if key == "sections":  # of a section that is missing nobody reads
            joined, value = joined[together["present"]], value[together["present"]]
        torch.testing.assert_close(joined, value, msg=key)


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        ({}, {"global", "sections", "language", "local"}),
        ({"local_weight": 0.0}, {"global", "sections", "language"}),
        ({"language_weight": 0.0}, {"global", "sections", "local"}),
        ({"section_weight": 0.0, "local_weight": 0.0}, {"global", "language"}),
        ({"global_weight": 0.0, "local_weight": 0.0}, {"sections", "language"}),
    ],
)
def test_every_loss_can_be_left_out(options, terms):
    model = network(**options)
    assert set(model.eval().losses(batch(model))) == terms


def test_one_section_is_enough():
    model = network(sections="findings")
    tokens = model.tokenizer(["no effusion", "lungs are clear"]).apply(lambda tensor: tensor[:, None])
    terms = model.losses(Batch(batch(model).images[:2], tokens))
    assert set(terms) == {"global", "language", "local"}


def test_every_weight_is_trained():
    model = network(image_encoder="vit/1x8p16").train()
    sum(model.losses(batch(model)).values()).backward()
    still = {key for key, weights in model.named_parameters() if weights.grad is None or not weights.grad.any()}
    assert {key for key in still if not key.endswith("key.bias")} <= {"image_encoder.network.cls_token"} | {
        key for key in still if key.startswith("image_encoder.network.norm")
    }


def test_gradients():
    model = network(image_encoder="vit/1x8p16").double().eval()
    given = batch(model)
    weights = [
        model.patch_projection[3].bias,
        model.text_projection.dense_to_output.bias,
        model.language_head.norm.bias,
    ]

    def loss(*_):
        return torch.stack(list(model.losses(given).values())).sum()

    assert torch.autograd.gradcheck(loss, weights, fast_mode=True)


def test_random_numbers_are_of_training_alone():
    model = network(dropout=0.0)
    given = batch(model)
    with torch.no_grad():
        hidden = [model.train().encode(given)["language_counts"].tolist() for _ in range(6)]
        assert len({tuple(counts) for counts in hidden}) > 1
        kept = [model.eval().encode(given) for _ in range(2)]
    for key, value in kept[0].items():
        assert torch.equal(value, kept[1][key]), key


def test_sentences_change_places_in_training():
    for different in (True, False):
        model = network(shuffle_sentences=different, dropout=0.0, language_weight=0.0).train()
        given = batch(model)
        with torch.no_grad():
            found = torch.stack([model.encode(given)["sections"] for _ in range(8)])
        assert (found[:, 0, 0] != found[:1, 0, 0]).any() == different  # two sentences
        assert (found[:, 1, 0] == found[:1, 1, 0]).all()  # one


def test_dropout_is_that_of_the_settings():
    model = network(dropout=0.4)
    assert {module.p for module in model.text_encoder.modules() if isinstance(module, torch.nn.Dropout)} == {0.4}


@torch.no_grad()
def test_prompts_are_averaged_as_they_are_projected(model, monkeypatch):
    monkeypatch.setattr(model, "project_texts", lambda tokens: model.embeddings[tokens.ids].sum(1))  # of all lengths
    positive, negative = model.prompt_vectors(["edema"])[:, 0].double()
    for side, prompts in ((positive, BiovilConfig().positive_prompt), (negative, BiovilConfig().negative_prompt)):
        texts = [prompt.replace("{}", "edema") for prompt in prompts.split("|")]
        vectors = torch.stack([vector(model, text) for text in texts])
        torch.testing.assert_close(side, F.normalize(vectors.mean(0), dim=-1), rtol=1e-5, atol=1e-6)
        assert not torch.allclose(side, F.normalize(F.normalize(vectors, dim=-1).mean(0), dim=-1), atol=1e-3)


@torch.no_grad()
def test_a_finding_is_scored_by_the_softmax_of_both_sides(model):
    images = batch(model).images
    answer = model.zero_shot(images, ["edema", "nodule"])
    positive, negative = model.embed_images(images) @ model.prompt_vectors(["edema", "nodule"]).mT
    torch.testing.assert_close(answer.scores, torch.stack([positive, negative]).softmax(0)[0])


@torch.no_grad()
def test_the_end_of_a_text_says_nothing(model):
    torch.testing.assert_close(model.embed_texts(["No edema..!"]), model.embed_texts(["No edema"]))


@torch.no_grad()
def test_maps_are_smoothed(model):
    images = batch(model).images
    rough = network(smoothing=0.0).double().eval()
    raw, smooth = (each.zero_shot(images, ["edema"]).maps[:, 0].numpy() for each in (rough, model))
    np.testing.assert_allclose(smooth, gaussian_filter(raw, (0, 1.5, 1.5), mode="reflect", truncate=4), atol=1e-6)
    phrases = ["edema"] * 4
    located = rough.locate(images, phrases)
    assert located.shape == (4, 32, 32)
    torch.testing.assert_close((1 + located[:, ::8, ::8]) / 2, rough.phrase_maps(images, phrases), atol=0.2, rtol=0)
    assert located.isfinite().all()


@torch.no_grad()
def test_what_the_network_does_not_see_is_no_number():
    model = network().eval()
    model.fit = "crop"
    images = torch.randint(0, 256, (2, 1, 41, 41), dtype=torch.uint8)
    found = model.locate(images, ["edema", "nodule"])
    seen = ~found.isnan()
    expected = torch.zeros(41, 41, dtype=torch.bool)
    expected[4:36, 4:36] = True  # the larger part of the margin of 9 is below and to the right
    assert seen.equal(expected.expand(2, -1, -1))
    torch.testing.assert_close(found[:, 4:36, 4:36], model.locate(images[..., 4:36, 4:36], ["edema", "nodule"]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sections": "a+b+c"}, "sections are one or two"),
        ({"image_section": "both"}, "image_section is `first` or `last`"),
        ({"temperature": 0.0}, "temperatures divide"),
        ({"dropout": 1.0}, "dropout is 1"),
        ({"hidden_share": 0.0}, "hidden_share is 0"),
        (
            {"global_weight": 0.0, "language_weight": 0.0, "local_weight": 0.0, "sections": "impression/findings"},
            "section_weight alone is above 0, but sections is one",
        ),
        (
            dict.fromkeys(("global_weight", "section_weight", "language_weight", "local_weight"), 0.0),
            "nothing is left to train",
        ),
        ({"positive_prompt": "edema"}, "positive prompt `edema` needs"),
    ],
)
def test_mistakes_are_one_sentence(options, said):
    with pytest.raises(ValueError, match=said):
        network(**options)
