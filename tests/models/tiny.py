"""Every method at a size for tests, and batches for it; a new method adds a line."""

import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from models.encoders.image import ImageEncoder
from models.method import Batch, Method, Tokens
from models.registry import build_method, method_names, recipe, settings_class
from training.data.texts import TOGETHER

SIZE = 32
ENTITIES = ("effusion", "nodule", "edema", "normal")
POSITIONS = ("left_pleural", "right_pleural", "unspecified", "other", "svc")
KNOWLEDGE = [
    {"kind": kind, "name": name, "description": f"{name} on an image", "source": "test"}
    for kind, names in (("entity", ENTITIES), ("position", POSITIONS))
    for name in names
]
WORDS = ("left", "right", "pleural", "effusion", "small", "large", "heart", "lungs", "are", "clear", "no", "nodule")

FOLDER = tempfile.TemporaryDirectory()  # of weights that a method cannot do without
VIT, BERT = "vit/2x32p8", "bert/2x32"
TINY: dict[str, dict] = {
    "albef": {
        "image_encoder": VIT, "image_weights": "", "text_encoder": "bert/3x32", "fusion_layers": 1, "dimension": 16,
        "queue": 24, "masked_share": 0.4,
    },
    "blip": {"image_encoder": VIT, "image_weights": f"{FOLDER.name}/blip.safetensors"},
    "biovil": {
        "image_encoder": "resnet10t/2", "image_weights": "", "text_encoder": BERT, "hidden": 16, "dimension": 16,
        "local_weight": 0.1, "hidden_share": 0.4,
    },
    "caption_lstm": {
        "image_encoder": "resnet10t/2", "image_weights": "", "text_tokenizer": "all-MiniLM-L6-v2", "embedding": 8,
        "hidden": 16, "attention": 8, "maximum_tokens": 16,
    },
    "caption_transformer": {
        "image_encoder": "resnet10t/2", "image_weights": "", "text_tokenizer": "all-MiniLM-L6-v2", "width": 16,
        "heads": 2, "head_width": 8, "feed_forward": 24, "memory": 3, "layers": 2, "maximum_tokens": 16,
    },
    "chexzero": {
        "weights": "", "vision_layers": 2, "vision_width": 32, "vision_heads": 2, "patch": 8, "text_layers": 2,
        "text_width": 32, "text_heads": 2, "text_tokenizer": "all-MiniLM-L6-v2", "context": 24, "embedding": 16,
    },
    "classifier": {"image_encoder": "resnet10t", "image_weights": ""},
    "clip": {
        "weights": "", "vision_layers": 2, "vision_width": 32, "vision_heads": 2, "patch": 8, "text_layers": 2,
        "text_width": 32, "text_heads": 2, "text_tokenizer": "all-MiniLM-L6-v2", "context": 24, "embedding": 16,
    },
    "convirt": {
        "image_encoder": "resnet10t", "image_weights": "", "text_encoder": BERT, "frozen_layers": 0, "dimension": 16,
    },
    "contrastive_binary": {
        "image_encoder": "resnet10t/2", "image_weights": "", "text_encoder": BERT, "frozen_layers": 0, "width": 16,
        "hidden": 16,
    },
    "dsve": {
        "image_encoder": "resnet10t/2", "image_weights": "", "word_width": 8, "layers": 2,
        "dimension": 16, "largest": 2, "smallest": 1,
    },
    "gloria": {
        "image_encoder": VIT, "image_weights": "", "image_stage": 0, "upsampled": 0, "text_encoder": BERT,
    },
    "imagenet": {"image_encoder": "resnet10t", "image_weights": f"{FOLDER.name}/imagenet.safetensors"},
    "lovt": {
        "image_encoder": VIT, "image_weights": "", "text_encoder": BERT, "frozen_layers": 0, "heads": 2, "hidden": 32,
        "dimension": 16,
    },
    "lrclr": {
        "start_from": "", "vision_layers": 3, "vision_width": 32, "vision_heads": 4, "patch": 8, "text_layers": 2,
        "text_width": 32, "text_heads": 2, "text_tokenizer": "all-MiniLM-L6-v2", "context": 24, "embedding": 24,
        "cross_width": 16, "cross_heads": 2,
    },
    "medclip": {
        "image_encoder": VIT, "image_weights": "", "text_encoder": BERT, "dimension": 16, "label_entities": "",
    },
    "medklip": {
        "image_encoder": "resnet10t", "image_stage": 1, "text_encoder": "all-MiniLM-L6-v2", "text_pooling": "mean",
        "width": 16, "heads": 2, "layers": 1, "feed_forward": 32, "negatives": 3,
    },
    "mgca": {
        "image_encoder": VIT, "image_weights": "", "text_encoder": BERT, "dim": 16, "hidden": 32, "prototypes": 7,
    },
    "moco": {"image_encoder": "resnet10t/2", "image_weights": "", "dimension": 16, "queue": 24},
    "random": {"image_encoder": "resnet10t"},
    "seibold": {
        "image_encoder": "resnet10t/2", "image_weights": "", "text_encoder": BERT, "dimension": 16,
    },
    "simclr": {"image_encoder": "resnet10t/2", "image_weights": "", "dimension": 16},
    "vsepp": {"image_encoder": "resnet10t/2", "image_weights": "", "word_width": 8, "dimension": 16},
}  # fmt: skip


def _save_weights(name: str, path: Path) -> None:
    """Random weights of an encoder in a file."""
    if not path.exists():
        torch.manual_seed(0)
        save_file(ImageEncoder(name, SIZE, channels=3).network.state_dict(), path)


for _name in ("blip", "imagenet"):
    _save_weights(TINY[_name]["image_encoder"], Path(TINY[_name]["image_weights"]))


# Without the systems of which no step is taken.
TRAINED = [name for name in method_names() if recipe(name).get("epochs") != 0]

# One for each way in which methods read a pair: what does not depend on the network is tried with these.
READING = ("albef", "biovil", "caption_lstm", "convirt", "gloria", "lovt", "medclip", "medklip", "moco")


def way_of_reading(method: Method) -> tuple[object, ...]:
    """What of a pair a method is given."""
    texts = method.texts
    read = () if texts is None else (texts.unit, len(texts.sections), texts.unpaired)
    return (method.two_views, method.reads_targets, *read)


def settings_for(name: str, section: str) -> dict:
    """The settings of the method on reports that have one section alone."""
    has_sections = "sections" in {field.name for field in fields(settings_class(name))}
    return {**TINY[name], **({"sections": section} if has_sections else {})}


def tiny_method(name: str, **options: object) -> Method:
    """The method with the same random weights every time."""
    torch.manual_seed(0)
    return build_method(name, {**TINY[name], **options}, KNOWLEDGE, SIZE)


def tiny_batch(method: Method, pairs: int, seed: int = 0) -> Batch:
    """Images of noise, with reports of 4 to 12 words or with triplets, whatever the method reads."""
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (pairs, 1, SIZE, SIZE), np.uint8))
    views = torch.from_numpy(rng.integers(0, 256, images.shape, np.uint8)) if method.two_views else None
    targets, text_targets = (_targets(rng, pairs) if method.reads_targets else None for _ in range(2))
    if method.texts is None:
        return Batch(images, None, targets, views)
    texts = [" ".join(rng.choice(WORDS, rng.integers(4, 13))) for _ in range(3 * pairs)]
    tokens = method.texts.tokenizer(texts[:pairs])
    if method.texts.unit in TOGETHER:
        tokens = _some_texts(method.texts.tokenizer(texts), len(method.texts.sections))
    return Batch(images, tokens, targets, views, text_targets)


def _targets(rng: np.random.Generator, pairs: int) -> torch.Tensor:
    said = rng.random((pairs, len(POSITIONS), len(ENTITIES)))
    return torch.from_numpy(np.where(said < 0.3, said < 0.15, -1).astype(np.int8))


def _some_texts(tokens: Tokens, most: int) -> Tokens:
    """Up to `most` texts, at least two, of each of the pairs."""
    tokens = tokens.apply(lambda tensor: tensor.unflatten(0, (-1, 3))[:, : max(2, min(3, most))])
    tokens.mask[1::2, -1] = False
    return tokens
