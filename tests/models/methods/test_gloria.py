"""GLoRIA: what its defaults do, that each option changes something, and that they lack the faults of the code."""

import itertools
import math

import pytest
import torch

from models.method import Batch, Tokens
from models.methods.gloria.network import build
from models.text.gloria_prompts import PROMPTS, all_prompts, sample_prompts

SMALL = {
    "image_encoder": "vit/1x32p16", "image_weights": "", "image_stage": 0, "upsampled": 0, "text_encoder": "bert/2x32",
}  # fmt: skip
TEXTS = ["small left effusion", "the heart is enlarged", "no pneumothorax", "cardiomegaly is unchanged since before"]


def gloria(**options):
    torch.manual_seed(0)
    return build({**SMALL, **options}, [], 32)


def batch(model, texts=TEXTS):
    torch.manual_seed(1)
    return Batch(torch.randint(0, 256, (len(texts), 1, 32, 32), dtype=torch.uint8), model.texts.tokenizer(texts))


def padded(tokens: Tokens, extra: int) -> Tokens:
    pad = torch.nn.functional.pad
    return Tokens(pad(tokens.ids, (0, extra)), pad(tokens.mask, (0, extra)))


def test_every_tower_learns_from_every_term():
    model = gloria()
    pairs = batch(model)
    for name in ("global", "local"):
        terms = model.losses(pairs)
        assert set(terms) == {"global", "local"}
        model.zero_grad()
        terms[name].backward()
        towers = [model.image_encoder, model.text_encoder]
        towers.append(model.project_pooled if name == "global" else model.project_regions)
        for tower in towers:
            assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in tower.parameters())


def test_padding_and_special_tokens_are_no_words():
    model = gloria().eval()
    tokens = batch(model).tokens
    texts = model.sentences(tokens)
    assert texts.mask.sum(1).tolist() == [len(text.split()) for text in TEXTS]
    assert not texts.mask[:, 0].any()  # [CLS]
    longer = model.sentences(padded(tokens, 5))
    torch.testing.assert_close(longer.vectors, texts.vectors)
    torch.testing.assert_close(longer.mask[:, : texts.mask.shape[1]], texts.mask)
    assert not longer.mask[:, texts.mask.shape[1] :].any()
    for index, row in enumerate(texts.mask):
        torch.testing.assert_close(texts.vectors[index], texts.words[index][row].mean(0))


def test_the_code_averages_over_padding():
    model = gloria(sentence_pooling="positions").eval()
    tokens = batch(model).tokens
    few, many = model.sentences(tokens).vectors, model.sentences(padded(tokens, 5)).vectors
    torch.testing.assert_close(few * tokens.ids.shape[1], many * (tokens.ids.shape[1] + 5))


def test_a_word_counts_the_same_in_training_and_in_zero_shot_but_cls_where_asked():
    for cls in (False, True):
        model = gloria(cls_in_training=cls).eval()
        pairs = batch(model)
        assert (model.encode(pairs)["mask"][:, 0] == cls).all()
        assert not next(model._read(TEXTS)).mask[:, 0].any()


def test_a_text_without_words_is_finite():
    model = gloria()
    terms = model.losses(batch(model, ["", "effusion", "", "edema"]))
    sum(terms.values()).backward()
    assert all(term.isfinite() for term in terms.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    "options",
    [
        {"text_layers": 1}, {"layer_aggregation": "mean"}, {"sentence_pooling": "positions"}, {"cls_in_training": True},
        {"attention": "words_regions"}, {"word_aggregation": "mean"}, {"attention_temperature": 0.5},
        {"word_temperature": 0.5}, {"temperature": 0.5}, {"global_weight": 2.0}, {"local_weight": 0.0},
    ],
    ids=str,
)  # fmt: skip
def test_options_change_the_losses(options):
    ours, other = gloria().eval(), gloria(**options).eval()
    assert other.state_dict().keys() == ours.state_dict().keys()
    assert sum(other.losses(batch(other)).values()).item() != pytest.approx(
        sum(ours.losses(batch(ours)).values()).item()
    )


QUERIES = ["Atelectasis", "Fracture", "Edema", "No Finding"]


@pytest.mark.parametrize(
    "options",
    [
        {"prompts": 0}, {"prompt_seed": 1}, {"prompt_aggregation": "max"}, {"zero_shot_words": "max"},
        {"negatives": True}, {"standardise": True},
    ],
    ids=str,
)  # fmt: skip
@torch.inference_mode()
def test_options_change_the_scores(options):
    ours, other = gloria().eval(), gloria(**options).eval()
    images = batch(ours).images
    assert not torch.allclose(ours.zero_shot(images, QUERIES).scores, other.zero_shot(images, QUERIES).scores)


@torch.inference_mode()
def test_scores_do_not_depend_on_the_other_images_but_standardised_ones_do():
    for standardise in (False, True):
        model = gloria(standardise=standardise).eval()
        images = batch(model).images
        together, alone = model.zero_shot(images, QUERIES).scores, model.zero_shot(images[:1], QUERIES).scores
        assert torch.allclose(together[:1], alone, atol=1e-6) != standardise
        assert together.shape == (4, 4)
        assert ((together > 0) & (together < 1)).all()


@torch.inference_mode()
def test_scores_are_the_mean_match_of_the_prompts():
    model = gloria().eval()
    images = batch(model).images
    answer = model.zero_shot(images, QUERIES)
    for column, query in enumerate(QUERIES):
        matches = model.similarity(images, model.prompts_of(query))
        torch.testing.assert_close(answer.scores[:, column].logit(), matches.mean(1), rtol=1e-4, atol=1e-4)
        assert len(model.prompts_of(query)) == (5 if query.lower() in PROMPTS else 1)
    assert answer.maps.shape == (4, 4, 2, 2)
    assert (answer.maps >= 0).all()
    torch.testing.assert_close(answer.maps.sum((2, 3)), torch.ones(4, 4))


@torch.inference_mode()
def test_similarity_is_half_the_cosine_and_half_the_words(monkeypatch):
    model = gloria().eval()
    images = batch(model).images
    vectors, regions, _ = model.project_images(model.prepare(images))
    texts = next(model._read(TEXTS))
    ours = model.similarity(images, TEXTS)
    for i, t in itertools.product(range(4), range(4)):
        exponentials = []
        for word in texts.words[t][texts.mask[t]]:
            seen = ((regions[i] @ word) / 0.25).softmax(0) @ regions[i]
            exponentials.append(math.exp(torch.cosine_similarity(seen, word, dim=0).item() / 0.2))
        cosine = torch.cosine_similarity(vectors[i], texts.vectors[t], dim=0).item()
        assert ours[i, t].item() == pytest.approx((cosine + math.log(sum(exponentials))) / 2, abs=1e-4)
    monkeypatch.setattr(model, "text_batch", 3)
    torch.testing.assert_close(model.similarity(images, TEXTS), ours)
    torch.testing.assert_close(model.embed_texts(TEXTS).norm(dim=1), torch.ones(4))


def test_a_sentence_of_the_impression_is_read_unless_told_otherwise():
    texts = gloria().texts
    assert (texts.sections, texts.unit) == (("impression",), "sentence")
    assert (texts.cleaning, texts.minimum_words) == ("words", 2)
    texts = gloria(sections="findings+impression", full_report=True).texts
    assert (texts.sections, texts.unit) == (("findings", "impression"), "report")


@torch.inference_mode()
def test_texts_are_cleaned_as_in_training():
    model = gloria().eval()
    torch.testing.assert_close(model.embed_texts(["Small, LEFT effusion."]), model.embed_texts(["small left effusion"]))


def test_images_are_cropped_and_enlarged_with_aligned_corners():
    model, plain = build({**SMALL, "upsampled": 48}, [], 32), gloria()
    model.fit = plain.fit = "crop"
    images = torch.randint(0, 256, (2, 1, 40, 40), dtype=torch.uint8)
    ready = model.prepare(images)
    centre = images[..., 4:36, 4:36].float() / 127.5 - 1
    assert ready.shape == (2, 1, 48, 48)
    torch.testing.assert_close(ready[..., [0, 0, -1, -1], [0, -1, 0, -1]], centre[..., [0, 0, -1, -1], [0, -1, 0, -1]])
    torch.testing.assert_close(plain.prepare(images), centre)


def test_small_residual_networks_fit():
    model = gloria(image_encoder="resnet18", image_stage=3)
    pairs = batch(model)
    encoded = model.encode(pairs)
    assert encoded["images"].shape == (4, 32)
    assert encoded["regions"].shape == (4, 4, 32)
    assert model.eval().image_features(pairs.images).shape == (4, 512)


@torch.inference_mode()
def test_a_saved_network_answers_the_same():
    model = gloria().eval()
    again = build(SMALL, [], 32, model.state_dict()).eval()
    again.load_state_dict(model.state_dict())
    images = batch(model).images
    torch.testing.assert_close(again.zero_shot(images, QUERIES).scores, model.zero_shot(images, QUERIES).scores)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sentence_pooling": "max"}, "sentence_pooling is one of words, positions"),
        ({"zero_shot_words": "median"}, "zero_shot_words is one of sum, mean, max"),
        ({"temperature": 0.0}, "above 0"),
        ({"text_layers": 0}, "at least one"),
    ],
)
def test_what_is_not_understood_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        gloria(**options)


def test_prompts_are_as_many_as_the_authors_and_do_not_contradict_themselves():
    counts = {finding: len(set(all_prompts(finding))) for finding in PROMPTS}
    assert counts == {"atelectasis": 210, "cardiomegaly": 15, "consolidation": 192, "edema": 18, "pleural effusion": 54}
    for finding in PROMPTS:
        for prompt in all_prompts(finding):
            assert sum(side in prompt.split() for side in ("left", "right", "both", "bilateral")) <= 1
            assert "  " not in prompt
            assert prompt == prompt.strip().lower()


def test_prompts_are_drawn_by_seed():
    first = sample_prompts("Pleural Effusion", 5, 0)
    assert first == sample_prompts("pleural effusion", 5, 0)
    assert first != sample_prompts("pleural effusion", 5, 1)
    assert len(set(first)) == 5
    assert sorted(sample_prompts("edema", 99, 0)) == sorted(all_prompts("edema"))
    assert sample_prompts("fracture", 5, 0) == []
