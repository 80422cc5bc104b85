"""CheXzero on tiny towers: its loss, its bounds, what it asks, and what its options change."""

import math

import pytest
import torch

from models.method import Batch
from models.methods.chexzero.config import ChexzeroConfig
from models.methods.chexzero.network import Chexzero, build

SMALL = {
    "weights": "", "vision_layers": 1, "vision_width": 32, "vision_heads": 2, "patch": 8, "text_layers": 1,
    "text_width": 16, "text_heads": 2, "text_tokenizer": "all-MiniLM-L6-v2", "context": 20, "embedding": 8,
}  # fmt: skip
TEXTS = ["There is a pleural effusion.", "No pneumothorax.", "The heart is enlarged today, compared with before."]


def network(**options) -> Chexzero:
    torch.manual_seed(0)
    return build({**SMALL, **options}, [], 32)


@pytest.fixture(scope="module")
def model():
    return network()


def batch(model):
    torch.manual_seed(1)
    return Batch(torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8), model.texts.tokenizer(TEXTS))


def literal(images, texts, logit_scale) -> float:
    """(CE_image + CE_text) / 2 on exp(logit_scale) times the cosine, pair by pair."""
    n = len(images)
    logits = [
        [math.exp(logit_scale) * float(image @ text / (image.norm() * text.norm())) for text in texts]
        for image in images
    ]
    image = sum(math.log(sum(math.exp(x) for x in logits[i])) - logits[i][i] for i in range(n)) / n
    text = sum(math.log(sum(math.exp(row[i]) for row in logits)) - logits[i][i] for i in range(n)) / n
    return (image + text) / 2


def vectors():
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(4, 8, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)]


def test_loss_equals_the_equation():
    images, texts = vectors()
    model = network().double()
    loss = model.contrast({"images": images, "texts": texts})["contrast"]
    expected = literal(images.detach(), texts.detach(), model.logit_scale.item())
    assert loss.item() == pytest.approx(expected, rel=1e-10)


def test_gradients_of_both_sides_and_of_the_logit_scale():
    images, texts = vectors()
    model = network(max_logit_scale=0).double()

    def loss(images, texts, scale):
        model._parameters["logit_scale"] = scale
        return model.contrast({"images": images, "texts": texts})["contrast"]

    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (images, texts, scale))


def test_the_logit_scale_is_bounded_and_can_come_down_again():
    images, texts = vectors()
    model = network()
    model.logit_scale.data.fill_(math.log(500))
    model.contrast({"images": images, "texts": texts})["contrast"].backward()
    assert model.logit_scale.exp().item() == pytest.approx(100)
    assert model.logit_scale.grad > 0  # random vectors do not fit: the update leads down
    assert network(first_logit_scale=33.0).telemetry()["logit_scale"] == pytest.approx(33)
    unbounded = network(max_logit_scale=0.0)
    unbounded.logit_scale.data.fill_(math.log(500))
    unbounded.contrast({"images": images, "texts": texts})
    assert unbounded.telemetry()["logit_scale"] == pytest.approx(500)


def test_both_towers_and_the_logit_scale_get_gradients(model):
    sum(model.losses(batch(model)).values()).backward()
    for name, weights in model.named_parameters():
        assert weights.grad.any(), name


def test_grey_levels_are_normalised_on_their_scale(model):
    grey = torch.tensor([0.0, 101.48761, 255.0]).expand(1, 1, 3, 3)
    larger = torch.nn.functional.interpolate(grey, 48, mode="nearest")
    prepared = model.prepare(larger)
    assert prepared.shape == (1, 1, 32, 32)
    assert prepared[0, 0, 16, 16].item() == pytest.approx(0, abs=1e-4)
    assert prepared[0, 0, 0, 0].item() == pytest.approx(-101.48761 / 83.43944, abs=1e-3)


def test_impressions_are_read_by_default(model):
    assert model.texts.sections == ("impression",)
    assert network(sections="findings+impression").texts.sections == ("findings", "impression")


def test_padding_reaches_no_vector(model):
    with torch.no_grad():
        torch.testing.assert_close(model.embed_texts(TEXTS)[1:2], model.embed_texts(TEXTS[1:2]))


def test_an_image_without_findings_is_not_asked_for_the_opposite(model):
    assert model.prompts.fill("No Finding") == (("normal",), ("abnormal",))
    assert model.prompts.fill("Edema") == (("Edema",), ("no Edema",))
    normal = network(negative_prompt="Normal chest radiograph.")
    assert normal.prompts.fill("Edema") == (("Edema",), ("Normal chest radiograph.",))
    literal = network(literal_no_finding=True)
    assert literal.prompts.fill("No Finding") == (("No Finding",), ("no No Finding",))


@torch.no_grad()
def test_scores(model):
    positive, negative = torch.tensor([[0.3, -0.2], [0.1, 0.4]]), torch.tensor([[0.1, 0.5], [0.1, -0.3]])
    softmax = positive.exp() / (positive.exp() + negative.exp())
    torch.testing.assert_close(model.presence(positive, negative), softmax)
    scaled = network(scores="scaled").presence(positive, negative)
    torch.testing.assert_close(scaled, (model.logit_scale.exp() * (positive - negative)).sigmoid())
    standardised = network(scores="standardised")
    expected = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).sigmoid()
    torch.testing.assert_close(standardised.presence(positive, negative), expected)
    assert standardised.presence(positive[:, :1], negative[:, :1]).tolist() == [[0.5], [0.5]]  # one query: not nan


def test_answers(model):
    images = batch(model).images
    with torch.no_grad():
        answer = model.zero_shot(images, ["Edema", "No Finding"])
        similarity = model.similarity(images, TEXTS)
        features = model.image_features(images)
    assert answer.scores.shape == (3, 2)
    assert answer.maps.shape == (3, 2, 4, 4)
    assert answer.maps.min() >= 0
    assert similarity.shape == (3, 3)
    assert features.shape == (3, 32)


def test_a_run_can_be_trained_on_and_a_saved_one_reads_no_other_weights(model, tmp_path):
    from safetensors.torch import save_file

    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(5)
    again = build({**SMALL, "weights": str(tmp_path)}, [], 32)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor)
    build({**SMALL, "weights": "openai"}, [], 32, model.state_dict())
    with pytest.raises(ValueError, match="there is no file"):
        build({**SMALL, "weights": str(tmp_path / "gone.pt")}, [], 32)


def test_another_image_encoder_takes_the_place_of_clips():
    residual = network(image_encoder="resnet18", image_stage=3).eval()
    images = batch(residual).images
    with torch.no_grad():
        assert residual.zero_shot(images, ["Edema"]).maps.shape == (3, 1, 2, 2)
        assert residual.image_features(images).shape == (3, 256)
    assert residual.grey_mean != Chexzero.grey_mean
    sum(residual.losses(batch(residual)).values()).backward()
    assert residual.visual.projection.weight.grad.any()


def test_mistakes_are_one_sentence():
    with pytest.raises(ValueError, match="`vit/2x32p8` cannot end with a stage; set `image_stage` to 0"):
        network(image_encoder="vit/2x32p8", image_stage=2)
    with pytest.raises(ValueError, match="scores is one of cosines, scaled, standardised, not `softmax`"):
        ChexzeroConfig(scores="softmax")
    assert ChexzeroConfig().weights == "openai"
