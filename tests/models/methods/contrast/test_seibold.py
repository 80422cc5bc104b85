"""Sentence-wise contrast on tiny networks: what makes a report, how sentences meet patches, how findings are asked."""

import pytest
import torch
import torch.nn.functional as F

from models.losses.info_nce import info_nce
from models.method import Batch, Tokens
from models.methods.contrast.seibold import SeiboldConfig
from models.registry import build_method
from tests.models.tiny import TINY

REPORTS = [["the heart is large", "no effusion"], ["no effusion", "lungs are clear", "small nodule"], ["no edema"]]


def network(**options):
    torch.manual_seed(0)
    return build_method("seibold", {**TINY["seibold"], **options}, [], 32)


def batch(model, reports=REPORTS, rows=slice(None)):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (len(reports), 1, 32, 32), generator=generator, dtype=torch.uint8)
    most = max(map(len, reports))
    tokens = model.tokenizer([text for report in reports for text in (report + [""] * most)[:most]])
    absent = torch.tensor([[place >= len(report) for place in range(most)] for report in reports]).flatten()
    tokens = Tokens(tokens.ids.masked_fill(absent[:, None], model.tokenizer.pad), tokens.mask & ~absent[:, None])
    return Batch(images, tokens.apply(lambda tensor: tensor.unflatten(0, (-1, most)))).part(rows)


@pytest.fixture(scope="module")
def model():
    return network().double().eval()


def vector(model, text):
    return model.project_texts(model.tokenizer([text]))[0]


@torch.no_grad()
def test_a_report_is_all_its_sentences_and_each_is_encoded_by_itself(model):
    encoded = model.encode(batch(model))
    for row, report in enumerate(REPORTS):
        torch.testing.assert_close(encoded["texts"][row], vector(model, " ".join(report)))
        for place, sentence in enumerate(report):
            torch.testing.assert_close(encoded["sentences"][row, place], vector(model, sentence))
    assert encoded["present"].sum(1).tolist() == [2, 3, 1]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@torch.no_grad()
def test_texts_are_pooled(pooling):
    model = network(text_pooling=pooling).eval()
    tokens = model.tokenizer(["no effusion", "the heart is large today"])
    states = model.text_encoder(tokens).tokens
    expected = states[0, : tokens.mask[0].sum()].mean(0) if pooling == "mean" else states[0, 0]
    torch.testing.assert_close(model.project_texts(tokens)[0], model.text_projection(expected))


@torch.no_grad()
def test_sentences_meet_patches(model):
    encoded = model.encode(batch(model))
    patches, sentence = encoded["patches"][1], encoded["sentences"][0, 1]
    units = F.normalize(patches, dim=-1)
    cosines = units @ F.normalize(sentence, dim=0)
    seen = (cosines / 0.1).softmax(0) @ units
    expected = {
        "attention": F.cosine_similarity(seen, sentence, 0),
        "max": cosines.max(),
        "mean": F.cosine_similarity(patches.mean(0), sentence, 0),
    }
    for pool, value in expected.items():
        found = network(pool=pool).double().compare(encoded["patches"], encoded["sentences"].flatten(0, 1))
        torch.testing.assert_close(found[1, 1], value)


@torch.no_grad()
def test_with_one_sentence_and_the_mean_of_the_patches_both_losses_are_of_one_kind():
    model = network(pool="mean").double().eval()
    encoded = model.encode(batch(model, [["no effusion"], ["lungs are clear"], ["small nodule"]]))
    terms = model.contrast(encoded)
    temperature = 1 / model.logit_scale.exp()
    expected = info_nce(encoded["patches"].mean(1), encoded["sentences"][:, 0], temperature)
    torch.testing.assert_close(terms["local"], expected)
    torch.testing.assert_close(terms["global"], info_nce(encoded["images"], encoded["texts"], temperature))


@torch.no_grad()
def test_the_order_of_sentences_says_nothing_to_the_local_loss(model):
    turned = [report[::-1] for report in REPORTS]
    losses = [model.losses(batch(model, reports))["local"] for reports in (REPORTS, turned)]
    torch.testing.assert_close(*losses)


def local_loss(reports=REPORTS, **options):
    model = network(**options).eval()
    with torch.no_grad():
        return model.losses(batch(model, reports))["local"].item()


def test_a_sentence_that_two_reports_have_is_no_negative():
    assert local_loss(duplicates="masked") < local_loss(duplicates="negatives")
    different = [["the heart is large"], ["lungs are clear"]]
    assert local_loss(different, duplicates="masked") == local_loss(different, duplicates="negatives")


def test_an_image_finds_its_sentences_together_or_each():
    assert local_loss(image_positives="together") < local_loss(image_positives="each")


@torch.no_grad()
def test_a_pair_is_encoded_without_the_others(model):
    given = batch(model)
    together = model.encode(given)
    alone = [model.encode(given.part(slice(row, row + 1))) for row in range(3)]
    for key, value in together.items():
        joined = torch.cat([part[key] for part in alone])
        if key == "sentences":
            joined, value = joined[together["present"]], value[together["present"]]
        torch.testing.assert_close(joined, value, msg=key)


def said(model, **options):
    """What the reports of some steps consist of."""
    tokens = batch(model).tokens
    found = []
    for _ in range(20):
        report = model._report(tokens)
        found.append([model.tokenizer.decode(row[1:].tolist()) for row in report.ids])
    return found


@torch.no_grad()
def test_answers_are_of_projections_that_are_trained():
    images = batch(network()).images
    patches_alone, whole_alone = (network(**{name: 0.0}).eval() for name in ("global_weight", "local_weight"))
    vectors, patches, _ = patches_alone.project_images(patches_alone.prepare(images))
    features = patches_alone.image_encoder(patches_alone.prepare(images))
    torch.testing.assert_close(patches, patches_alone.patch_projection(features.local))
    torch.testing.assert_close(vectors, patches.mean(1))
    vectors, patches, _ = whole_alone.project_images(whole_alone.prepare(images))
    features = whole_alone.image_encoder(whole_alone.prepare(images))
    torch.testing.assert_close(vectors, whole_alone.image_projection(features.pooled))
    torch.testing.assert_close(patches, whole_alone.image_projection(features.local))


@pytest.mark.parametrize(("sentences", "fewest", "most"), [("all", 3, 3), ("subset", 1, 3), ("one", 1, 1)])
def test_the_report_of_a_step(sentences, fewest, most):
    found = said(network(report_sentences=sentences).train())
    counts = [sum(sentence in texts[1] for sentence in REPORTS[1]) for texts in found]
    assert (min(counts), max(counts)) == (fewest, most)
    assert all(texts[2] == "no edema" for texts in found)
    assert len({texts[1] for texts in found}) > 2


def test_sentences_keep_their_order_where_they_are_not_shuffled():
    still, turned = (said(network(shuffle_sentences=shuffled).train()) for shuffled in (False, True))
    assert {texts[0] for texts in still} == {" ".join(REPORTS[0])}
    assert {texts[0] for texts in turned} == {" ".join(REPORTS[0]), " ".join(REPORTS[0][::-1])}
    kept = said(network(report_sentences="one").eval())
    assert {texts[0] for texts in kept} == {" ".join(REPORTS[0])}


def test_losses_can_be_left_out():
    assert set(network(global_weight=0.0).losses(batch(network()))) == {"local"}
    assert set(network(local_weight=0.0).losses(batch(network()))) == {"global"}


def test_every_weight_is_trained_and_gradients_are_right():
    model = network(image_encoder="vit/1x8p16").double().train()
    given = batch(model)
    sum(model.losses(given).values()).backward()
    still = {key for key, weights in model.named_parameters() if weights.grad is None or not weights.grad.any()}
    assert {key for key in still if not key.endswith("key.bias")} == set()
    model.eval()

    def loss(*_):
        return torch.stack(list(model.losses(given).values())).sum()

    heads = [model.image_projection.weight, model.patch_projection.weight, model.logit_scale]
    assert torch.autograd.gradcheck(loss, heads, fast_mode=True)


def test_the_factor_of_the_cosines_is_bounded():
    model = network(first_logit_scale=50.0, max_logit_scale=50.0)
    with torch.no_grad():
        model.logit_scale.add_(1.0)
        model.losses(batch(model))
    assert model.telemetry()["logit_scale"] == pytest.approx(50.0)


@torch.no_grad()
def test_findings_are_asked_in_lower_case():
    model = network().eval()
    images = batch(model).images
    basic = model.zero_shot(images, ["Edema", "Pleural Effusion"])
    pooled = model.embed_images(images)
    positive, negative = (pooled @ model.embed_texts([f"{no}edema"])[0] for no in ("", "no "))
    torch.testing.assert_close(basic.scores[:, 0], (positive - negative).sigmoid())
    cosine = network(zero_shot="cosine").eval().zero_shot(images, ["Edema"])
    torch.testing.assert_close(cosine.scores[:, 0], (1 + positive) / 2)
    torch.testing.assert_close(cosine.maps[:, 0], basic.maps[:, 0])
    assert basic.maps.shape == (3, 2, *model.project_images(model.prepare(images))[2])


@torch.no_grad()
def test_several_prompts_are_averaged_or_the_best_counts():
    prompts = {"positive_prompt": "{}|signs of {}", "zero_shot": "cosine"}
    mean, best = (network(**prompts, prompt_aggregation=kind).eval() for kind in ("mean", "max"))
    images = batch(mean).images
    vectors = mean.embed_texts(["edema", "signs of edema"])
    pooled = mean.embed_images(images)
    expected = pooled @ F.normalize(vectors.mean(0), dim=0)
    torch.testing.assert_close(mean.zero_shot(images, ["Edema"]).scores[:, 0], (1 + expected) / 2)
    expected = (pooled @ vectors.T).amax(1)
    torch.testing.assert_close(best.zero_shot(images, ["Edema"]).scores[:, 0], (1 + expected) / 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pool": "sum"}, "pool is one of attention, max, mean"),
        ({"duplicates": "kept"}, "duplicates is one of"),
        ({"report_sentences": "two"}, "report_sentences is one of"),
        ({"attention_temperature": 0.0}, "attention_temperature is 0.0"),
        ({"first_logit_scale": 200.0}, "at most max_logit_scale"),
        ({"global_weight": 0.0, "local_weight": 0.0}, "nothing is left to train"),
    ],
)
def test_mistakes_are_one_sentence(options, said):
    with pytest.raises(ValueError, match=said):
        SeiboldConfig(**options)
