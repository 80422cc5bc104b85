"""Our MedCLIP, set to the authors' code, gives the numbers of the authors' code."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from models.losses.contrast.label_matching import label_similarity
from models.methods.contrast.medclip import MINIMUM_WORDS, Medclip, MedclipConfig, class_matches
from models.text.cleaning import CLEANING
from models.text.gloria_prompts import all_prompts
from models.text.sentences import split_report
from tests.golden.conftest import golden_files, load
from training.data.unpaired import draw_sentence, draw_table

DTYPE = {"32": torch.float32, "64": torch.float64}
TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}


class Encoder(nn.Module):
    """An encoder of which only the width is asked."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim = width


def network(dtype: torch.dtype, text_width: int = 1, dimension: int = 1, **options: str) -> Medclip:
    config = MedclipConfig(dimension=dimension, label_entities="", **options)
    return Medclip(config, Encoder(1), Encoder(text_width), None, ["effusion"]).to(dtype)


def variants() -> list:
    """A parameter per variant of each file of losses."""
    found = []
    for parameter in golden_files("medclip_loss.npz"):
        path = parameter.values[0]
        names = sorted({key.split(".hp.")[0] for key in np.load(path).files if ".hp." in key}) if path else [""]
        found += [pytest.param(path, name, id=name, marks=parameter.marks) for name in names]
    return found


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize(("path", "variant"), variants())
def test_loss(path, variant, precision):
    arrays, dtype, tolerance = load(path), DTYPE[precision], TOLERANCE[precision]
    hyper = {name: arrays[f"{variant}.hp.{name}"].item() for name in ("logit_scale", "soft_targets", "augmented")}
    model = network(dtype, label_similarity="dot")
    model.logit_scale.data.fill_(hyper["logit_scale"])
    model.on_step_start()
    given = {"images": "images", "texts": "texts"} | ({"changed_texts": "aug_texts"} if hyper["augmented"] else {})
    leaves = {theirs: torch.from_numpy(arrays[f"in.{theirs}"]).to(dtype).requires_grad_() for theirs in given.values()}
    labels = {name: torch.from_numpy(arrays[f"in.{name}"]).to(dtype) for name in ("img_labels", "text_labels")}
    encoded = {ours: leaves[theirs] for ours, theirs in given.items()} | {
        "image_labels": labels["img_labels"],
        "text_labels": labels["text_labels"],
        "known": torch.full((len(leaves["images"]),), hyper["soft_targets"]),
    }
    (loss,) = model.contrast(encoded).values()
    loss.backward()
    ours = {
        "loss": loss,
        "logits": model.logits(leaves["images"], leaves["texts"]),
        "image_embeds": nn.functional.normalize(leaves["images"], dim=-1),
        "logit_scale_after": model.logit_scale,
        "label_sim": label_similarity(*labels.values(), "dot"),
    }
    start = f"{variant}.out{precision}."
    theirs = {key[len(start) :]: value for key, value in arrays.items() if key.startswith(start)}
    assert theirs.keys() <= ours.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name].detach(), value, **tolerance, err_msg=name)
    gradients = {name: leaf.grad for name, leaf in leaves.items()} | {"logit_scale": model.logit_scale.grad}
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, arrays[f"{variant}.grad{precision}.{name}"], **tolerance, err_msg=name)


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("medclip_text.npz"))
def test_text(path, precision):
    arrays, dtype, tolerance = load(path), DTYPE[precision], TOLERANCE[precision]
    start = "in.hidden_states."
    layers = [
        torch.from_numpy(arrays[f"{start}{layer}"]).to(dtype).requires_grad_()
        for layer in range(sum(key.startswith(start) for key in arrays))
    ]
    weight = torch.from_numpy(arrays["param.projection_head.weight"]).to(dtype)
    model = network(dtype, weight.shape[1], len(weight), padding="counted")
    model.text_projection.weight.data = weight
    text = model.text_projection(model.pool(layers, torch.zeros(layers[0].shape[:2], dtype=torch.bool)))
    text.square().sum().backward()
    np.testing.assert_allclose(text.detach(), arrays[f"out{precision}.text"], **tolerance)
    np.testing.assert_allclose(layers[1].grad, arrays[f"grad{precision}.hidden_1"], **tolerance)


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("medclip_zeroshot.npz"))
def test_zero_shot(path, precision):
    arrays, dtype = load(path), DTYPE[precision]
    images, prompts = (
        nn.functional.normalize(torch.from_numpy(arrays[f"in.{name}"]).to(dtype), dim=-1)
        for name in ("images", "prompts")
    )
    scale = np.exp(arrays["hp.logit_scale"].item())
    for theirs, ours in (("max", "max"), ("ensemble", "logits")):
        found = scale * class_matches(images, list(prompts), ours)
        np.testing.assert_allclose(found, arrays[f"out{precision}.{theirs}"], **TOLERANCE[precision])
    for name, count in zip(arrays["out.chexpert_classes"], arrays["out.chexpert_prompt_counts"], strict=True):
        assert len(all_prompts(name)) == count


SAMPLING = golden_files("medclip_sampling.json")


@pytest.mark.parametrize("path", SAMPLING)
def test_reports_are_split_and_cleaned(path):
    content = json.loads(path.read_text())
    for report, expected in zip(content["reports"], content["sentences"], strict=True):
        cleaned = [CLEANING["marks"](sentence) for sentence in split_report(report)]
        assert [sentence for sentence in cleaned if len(sentence.split()) > MINIMUM_WORDS] == expected  # a mark counts
    texts = [text for text, *_ in content["sentence_table"]]
    kept = [text for text in dict.fromkeys(texts) if len(text) > 2 and len(split_report(text)) == 1]
    assert kept == content["sentences_kept"]


@pytest.mark.parametrize("path", SAMPLING)
def test_sentences_for_images_without_one(path):
    content = json.loads(path.read_text())
    labels = {text: values for text, *values in reversed(content["sentence_table"])}  # the first of the same words
    kept = content["sentences_kept"]
    for text, expected in content["first_dictionary_entries"]:
        assert labels[text] == expected
    of_kept = np.array([labels[text] for text in kept])
    numbers = np.random.RandomState(content["prompt_table_np_seed"])
    table = draw_table(of_kept, content["prompt_table_per_class"], numbers)
    assert [kept[sentence] for sentence in table] == content["prompt_table"]
    assert of_kept[table].tolist() == content["prompt_table_labels"]
    for image, drawn in zip(np.array(content["image_labels"]), content["sampled_for_images"], strict=True):
        sentence = draw_sentence(image, of_kept, table, np.random.RandomState(drawn["np_seed"]))
        assert of_kept[sentence].tolist() == drawn["label"]
        text = kept[sentence] if image.any() else kept[sentence][0]  # the code's fault: a letter
        assert text == drawn["text"]
