"""Our CheXzero, set to the authors' code, gives the numbers of the authors' code."""

import numpy as np
import pytest
import torch

from models.encoders.clip import load_clip
from models.method import Batch, Tokens
from models.methods.chexzero.config import ChexzeroConfig
from models.methods.chexzero.network import Chexzero
from models.text.clip_tokenizer import ClipTokenizer
from models.text.prompts import SEPARATOR
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
DTYPE = {"32": torch.float32, "64": torch.float64}
ZERO_SHOT, STANDARDISED = 2e-6, 2e-5  # their features are float32
CLIP_HEAD = 64  # the vision tower of CLIP has one head per 64 channels
SMALL = {
    "vision_layers": 1, "vision_width": 8, "vision_heads": 1, "patch": 8, "text_layers": 1, "text_width": 8,
    "text_heads": 1, "embedding": 8,
}  # fmt: skip


class Vocabulary:
    """Stands for a tokenizer where there are only ids."""

    pad = 0

    def __init__(self, vocabulary: int, length: int) -> None:
        self.vocabulary, self.length = vocabulary, length


class Looked(Chexzero):
    """CheXzero whose towers are tables of features: images by their order, texts by their ids."""

    def fill(self, images: np.ndarray, texts: dict[tuple[int, ...], np.ndarray]) -> None:
        self.images, self.vectors = torch.from_numpy(images), texts

    def prepare(self, images):
        return images

    def project_images(self, images):
        return self.images, self.images[:, None], (1, 1)

    def project_texts(self, tokens):
        rows = [tuple(ids[mask].tolist()) for ids, mask in zip(tokens.ids, tokens.mask, strict=True)]
        return torch.from_numpy(np.stack([self.vectors[row] for row in rows]))


def without_padding(tokens: np.ndarray) -> list[tuple[int, ...]]:
    """Ids up to the end token, which is the largest."""
    return [tuple(row[: row.argmax() + 1].tolist()) for row in tokens]


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("chexzero_loss*.npz"))
def test_loss_gradients_and_a_step_of_the_logit_scale(path, precision):
    arrays, dtype = load(path), DTYPE[precision]
    variants = sorted(key.split(".hp.")[0] for key in arrays if key.endswith(".hp.logit_scale_param"))
    assert variants
    for variant in variants:
        model = Chexzero(ChexzeroConfig(**SMALL, max_logit_scale=0), 8, Vocabulary(9, 5)).to(dtype)
        model.logit_scale.data.fill_(float(arrays[f"{variant}.hp.logit_scale_param"]))
        features = {
            name: torch.from_numpy(arrays.get(f"{variant}.in.{name}", arrays.get(f"in.{name}"))).to(dtype)
            for name in ("image_features", "text_features")
        }
        images, texts = (tensor.requires_grad_() for tensor in features.values())
        loss = model.contrast({"images": images, "texts": texts})["contrast"]
        loss.backward()
        ours = {"out.loss": loss.detach(), "grad.logit_scale": model.logit_scale.grad}
        ours |= {f"grad.{name}": tensor.grad for name, tensor in features.items()}
        torch.optim.SGD([model.logit_scale], lr=float(arrays[f"{variant}.hp.sgd_lr"])).step()
        ours["out.logit_scale_after_sgd_step"] = model.logit_scale.detach()
        for name, value in ours.items():
            theirs = arrays[f"{variant}.{name.replace('.', precision + '.')}"]
            np.testing.assert_allclose(value, theirs, **TOLERANCE[precision], err_msg=f"{variant} {name}")


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("chexzero_loss*.npz"))
def test_logits(path, precision):
    from models.losses.info_nce import pair_logits

    arrays = load(path)
    for key in [key for key in arrays if key.endswith(f"out{precision}.logits_per_image")]:
        variant = key.split(".")[0]
        images, texts = (
            torch.from_numpy(arrays.get(f"{variant}.in.{name}", arrays.get(f"in.{name}"))).to(DTYPE[precision])
            for name in ("image_features", "text_features")
        )
        logits = pair_logits(images, texts, float(np.exp(-arrays[f"{variant}.hp.logit_scale_param"])))
        np.testing.assert_allclose(logits, arrays[key], **TOLERANCE[precision])
        np.testing.assert_allclose(logits.T, arrays[key.replace("image", "text")], **TOLERANCE[precision])


@pytest.mark.parametrize("path", golden_files("chexzero_minimodel*.npz"))
def test_complete_model(path, tmp_path):
    """Their state dict, read as a checkpoint of CheXzero is, gives their features, loss and gradients."""
    arrays = load(path)
    hyper = {key.removeprefix("hp."): int(arrays[key]) for key in arrays if key.startswith("hp.")}
    config = ChexzeroConfig(
        vision_layers=hyper["vision_layers"],
        vision_width=hyper["vision_width"],
        vision_heads=hyper["vision_width"] // CLIP_HEAD,
        patch=hyper["vision_patch_size"],
        text_layers=hyper["transformer_layers"],
        text_width=hyper["transformer_width"],
        text_heads=hyper["transformer_heads"],
        embedding=hyper["embed_dim"],
        max_logit_scale=0,
    )
    model = Chexzero(config, hyper["image_resolution"], Vocabulary(hyper["vocab_size"], hyper["context_length"]))
    state = {key.removeprefix("param."): torch.from_numpy(arrays[key]) for key in arrays if key.startswith("param.")}
    torch.save(state, tmp_path / "clip.pt")
    load_clip(model, str(tmp_path / "clip.pt"))

    model.prepare = lambda images: images  # theirs are normalised, and in colour
    ids = torch.from_numpy(arrays["in.tokens"])
    ends = ids.argmax(1, keepdim=True)
    batch = Batch(torch.from_numpy(arrays["in.images"]), Tokens(ids, torch.arange(ids.shape[1]) <= ends))
    encoded = model.encode(batch)
    np.testing.assert_allclose(encoded["images"].detach(), arrays["out32.image_features"], **TOLERANCE["32"])
    np.testing.assert_allclose(encoded["texts"].detach(), arrays["out32.text_features"], **TOLERANCE["32"])
    loss = model.contrast(encoded)["contrast"]
    np.testing.assert_allclose(loss.detach(), arrays["out32.loss"], **TOLERANCE["32"])
    loss.backward()
    for key in (key for key in arrays if key.startswith("grad32.")):
        name = key.removeprefix("grad32.")
        ours = name if name == "logit_scale" or name.startswith("visual.") else f"text.{name}"
        np.testing.assert_allclose(model.get_parameter(ours).grad, arrays[key], **TOLERANCE["32"], err_msg=name)


@pytest.mark.parametrize("path", golden_files("chexzero_tokens*.npz"))
def test_training_tokens(path):
    arrays = load(path)
    theirs = arrays["out.tokens"]
    ours = ClipTokenizer(theirs.shape[1])([str(text) for text in arrays["in.texts"]])
    length = ours.ids.shape[1]
    np.testing.assert_array_equal(ours.ids, theirs[:, :length])
    assert not theirs[:, length:].any()
    assert [tuple(ids[mask].tolist()) for ids, mask in zip(ours.ids, ours.mask, strict=True)] == without_padding(theirs)


def looked(arrays: dict[str, np.ndarray], **options) -> Looked:
    """The model that knows the features of their prompts, by the ids of our tokenizer."""
    tokenizer = ClipTokenizer()
    model = Looked(ChexzeroConfig(**SMALL, literal_no_finding=True, **options), 8, tokenizer)
    prompts = without_padding(np.concatenate([arrays["in.tokens_pos"], arrays["in.tokens_neg"]]))
    vectors = np.concatenate([arrays["in.text_features_pos"], arrays["in.text_features_neg"]])
    texts = dict(zip(prompts, vectors, strict=True))
    if SEPARATOR in model.prompts.positive:
        filled = [str(template).format(label) for label in arrays["in.labels"] for template in arrays["in.templates"]]
        vectors = arrays["in.text_features_templates"].reshape(len(filled), -1)
        texts |= dict(zip(map(tuple, tokenizer.encode(filled)), vectors, strict=True))
    model.fill(arrays["in.image_features"], texts)
    return model


@pytest.mark.parametrize("path", golden_files("chexzero_zeroshot*.npz"))
def test_zero_shot(path):
    arrays = load(path)
    labels = [str(label) for label in arrays["in.labels"]]
    pair = dict(zip(("positive_prompt", "negative_prompt"), map(str, arrays["in.pair"]), strict=True))
    model = looked(arrays, **pair)
    images = torch.zeros(len(arrays["in.image_features"]), 1, 8, 8)
    vectors = model.prompt_vectors(labels)
    cosines = model.embed_images(images) @ vectors.transpose(1, 2)
    np.testing.assert_allclose(cosines[0], arrays["out32.pos_logits"], atol=ZERO_SHOT)
    np.testing.assert_allclose(cosines[1], arrays["out32.neg_logits"], atol=ZERO_SHOT)
    np.testing.assert_allclose(model.zero_shot(images, labels).scores, arrays["out32.prob"], atol=ZERO_SHOT)
    scores = looked(arrays, scores="standardised", **pair).zero_shot(images, labels).scores
    np.testing.assert_allclose(scores, arrays["out32.sigmoid_of_standardised"], atol=STANDARDISED)


@pytest.mark.parametrize("path", golden_files("chexzero_zeroshot*.npz"))
def test_averaged_templates(path):
    arrays = load(path)
    model = looked(arrays, positive_prompt=SEPARATOR.join(arrays["in.templates"]))
    vectors = model.prompt_vectors([str(label) for label in arrays["in.labels"]])[0]
    np.testing.assert_allclose(vectors.T, arrays["out32.template_averaged_weights"], atol=ZERO_SHOT)
    cosines = model.embed_images(torch.zeros(1, 1, 8, 8)) @ vectors.T
    np.testing.assert_allclose(cosines, arrays["out32.template_averaged_logits"], atol=ZERO_SHOT)
