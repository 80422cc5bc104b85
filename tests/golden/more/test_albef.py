"""Three steps of our ALBEF are those of the authors' code, from the same weights, negatives and hidden words."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from transformers import BertConfig, BertModel

from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.method import Tokens
from models.methods.contrast.albef import Albef, AlbefConfig
from models.text.augmentation.masking import Masked
from tests.golden.conftest import golden_files, load

DTYPE = {"32": torch.float32, "64": torch.float64}
TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
SIMILARITIES = {"32": TOLERANCE["32"], "64": {"rtol": 2e-7, "atol": 2e-7}}  # the temperature is a float32 number
IGNORED = -100  # label of a word that is not hidden

BERT_LAYER = {
    "attention.self.": "own.", "attention.output.dense": "own.output", "attention.output.LayerNorm": "own.norm",
    "crossattention.self.": "cross.", "crossattention.output.dense": "cross.output",
    "crossattention.output.LayerNorm": "cross.norm", "intermediate.dense": "inner", "output.dense": "outer",
    "output.LayerNorm": "norm",
}  # fmt: skip
PARTS = {
    "visual_encoder": "image_encoder.network", "vision_proj": "image_projection", "text_proj": "text_projection",
    "text_encoder.cls.predictions.transform.dense": "language.dense",
    "text_encoder.cls.predictions.transform.LayerNorm": "language.norm",
    "text_encoder.cls.predictions.bias": "language.bias", "text_encoder.bert": "text_encoder.bert",
}  # fmt: skip
OTHERS = {"temp": "temperature", "itm_head.weight": "matching.weight", "itm_head.bias": "matching.bias"}


def variants() -> list:
    found = []
    for parameter in golden_files("albef_pretrain.npz"):
        path = parameter.values[0]
        names = sorted({key.split(".hp.")[0] for key in np.load(path).files if ".hp." in key}) if path else [""]
        found += [pytest.param(path, name, id=name, marks=parameter.marks) for name in names]
    return found


def our_name(theirs: str, fusion: int) -> str:
    """The name of a weight of ours; "" for one that is tied to another."""
    if theirs in OTHERS:
        return OTHERS[theirs]
    if ".decoder." in theirs:
        return ""
    first, _, rest = theirs.partition(".")
    towers = "average" if first.endswith("_m") else "towers"
    theirs = f"{first.removesuffix('_m')}.{rest}"
    (part,) = [name for name in PARTS if theirs.startswith(f"{name}.") or theirs == name]
    name = PARTS[part] + theirs[len(part) :]
    start = "text_encoder.bert.encoder.layer."
    if name.startswith(start):
        layer, _, weight = name[len(start) :].partition(".")
        if int(layer) >= fusion:
            (old,) = [old for old in BERT_LAYER if weight.startswith(old)]
            name = f"fusion.layers.{int(layer) - fusion}.{BERT_LAYER[old]}{weight[len(old) :]}"
    return f"{towers}.{name}"


def network(arrays: dict[str, np.ndarray], variant: str, dtype: torch.dtype) -> Albef:
    hyper = {key[len("hp.") :]: arrays[key].item() for key in arrays if key.startswith("hp.")}
    images = arrays["in.images"].shape
    weights = {
        key[len("param.") :]: torch.from_numpy(value) for key, value in arrays.items() if key.startswith("param.")
    }
    patches = weights["visual_encoder.patch_embed.proj.weight"]
    image_encoder = ImageEncoder(f"vit/1x{hyper['vision_width']}p{patches.shape[-1]}", images[-1])
    image_encoder.network = VisionTransformer(
        images[-1], patches.shape[-1], images[2], num_classes=0, embed_dim=hyper["vision_width"],
        depth=hyper["vision_depth"], num_heads=hyper["heads"],
        mlp_ratio=len(weights["visual_encoder.blocks.0.mlp.fc1.bias"]) / hyper["vision_width"],
    )  # fmt: skip
    words = weights["text_encoder.bert.embeddings.word_embeddings.weight"]
    text_encoder = TextEncoder("bert/1x32")
    text_encoder.dim = hyper["text_width"]
    text_encoder.bert = BertModel(
        BertConfig(
            vocab_size=len(words), hidden_size=hyper["text_width"], num_hidden_layers=hyper["text_layers"],
            num_attention_heads=hyper["heads"], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            intermediate_size=len(weights["text_encoder.bert.encoder.layer.0.intermediate.dense.bias"]),
            max_position_embeddings=len(weights["text_encoder.bert.embeddings.position_embeddings.weight"]),
            type_vocab_size=len(weights["text_encoder.bert.embeddings.token_type_embeddings.weight"]),
        ),
        add_pooling_layer=False,
    )  # fmt: skip
    config = AlbefConfig(
        fusion_layers=hyper["text_layers"] - hyper["fusion_layer"],
        dimension=hyper["embed_dim"],
        queue=hyper["queue_size"],
        momentum=hyper["momentum"],
        distillation=arrays[f"{variant}.hp.alpha"].item(),
        temperature=hyper["temp"],
        masked_share=hyper["mlm_probability"],
    )
    model = Albef(config, image_encoder, text_encoder, SimpleNamespace(), images[-1])
    state = {}
    for theirs, value in weights.items():
        if "queue" not in theirs and (name := our_name(theirs, hyper["fusion_layer"])):
            state[name] = value
    state |= {f"{side}_queue.keys": weights[f"{side}_queue"].T for side in ("image", "text")}
    state |= {f"{side}_queue.place": weights["queue_ptr"][0] for side in ("image", "text")}
    state["progress"] = torch.ones(())  # the files give alpha as it is
    model.load_state_dict(state)
    return model.to(dtype).train()


def step_of(arrays: dict[str, np.ndarray], variant: str, step: int, dtype: torch.dtype) -> tuple:
    """Images, texts, the texts with hidden words, and the negatives of a step."""
    images = torch.from_numpy(arrays["in.images"][step]).to(dtype)
    ids, mask = torch.from_numpy(arrays["in.ids"][step]), torch.from_numpy(arrays["in.mask"][step]).bool()
    drawn = {
        name: torch.from_numpy(arrays[f"{variant}.in.step{step}.{name}"])
        for name in ("negative_image", "negative_text", "masked_ids", "mlm_labels")
    }
    masked = Masked(Tokens(drawn["masked_ids"], mask), drawn["mlm_labels"] != IGNORED)
    return images, Tokens(ids, mask), masked, (drawn["negative_image"], drawn["negative_text"])


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize(("path", "variant"), variants())
def test_steps(path, variant, precision):
    arrays, dtype, tolerance = load(path), DTYPE[precision], SIMILARITIES[precision]
    model = network(arrays, variant, dtype)
    fusion, rate = arrays["hp.fusion_layer"].item(), arrays["hp.lr"].item()
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], rate)
    start = f"{variant}.out{precision}."
    theirs = {key[len(start) :]: value for key, value in arrays.items() if key.startswith(start)}
    compared = set()

    def compare(name: str, ours: torch.Tensor) -> None:
        np.testing.assert_allclose(ours.detach(), theirs[name], **tolerance, err_msg=name)
        compared.add(name)

    for step in range(len(arrays["in.images"])):
        images, tokens, masked, negatives = step_of(arrays, variant, step, dtype)
        model.on_step_start()
        encoded = model.represent(images, tokens, masked)
        logits = model.similarities(encoded)
        if not step:
            compare("image_feat", encoded["images"])
            compare("text_feat", encoded["texts"])
            for name, values in zip(("i2t", "t2i"), zip(logits, model.targets(encoded), strict=True), strict=True):
                compare(f"sim_{name}", values[0])
                compare(f"sim_{name}_targets", values[1])
            compare("vl_output", model.match_all(encoded, negatives))
            everything = Masked(masked.tokens, torch.ones_like(masked.hidden))
            compare(
                "mlm_logits", model.towers.tell(everything, model.towers.see(images)).view(*masked.hidden.shape, -1)
            )
        terms = model.losses_of(encoded, logits, negatives)
        for ours, name in (("language", "mlm"), ("contrast", "ita"), ("matching", "itm")):
            compare(f"step{step}.{name}", terms[ours])
        optimizer.zero_grad()
        sum(terms.values()).backward()
        if not step:
            weights = dict(model.named_parameters())
            for key in [key for key in arrays if key.startswith(f"{variant}.grad{precision}.")]:
                name = our_name(key.split(f"grad{precision}.")[1], fusion)
                np.testing.assert_allclose(weights[name].grad, arrays[key], **tolerance, err_msg=key)
        optimizer.step()
        model.enqueue(encoded)
        model.on_step_end()
        for side in ("image", "text"):
            compare(f"step{step}.{side}_queue", getattr(model, f"{side}_queue").keys.T)
        compare(f"step{step}.queue_ptr", model.image_queue.place[None])
    state = model.state_dict()
    for name in [name for name in theirs if name.startswith("after.")]:
        compare(name, state[our_name(name[len("after.") :], fusion)])
    assert compared == theirs.keys()
