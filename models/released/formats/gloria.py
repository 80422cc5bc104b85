"""GLoRIA's released checkpoints (Huang et al., ICCV 2021; github.com/marshuang80/gloria)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.errors import ModelError
from models.losses.word_region import WordRegionSimilarity
from models.method import Tokens, WordMaps, ZeroShot
from models.released.files.containers import Content
from models.released.network import ReleasedNetwork
from models.released.opening import Converted
from models.released.parts.bert import TextTower, describe_bert, expect_folder, without_buffers
from models.released.parts.films import centre, normalise, pad_square
from models.released.parts.maps import on_whole
from models.released.parts.reports import askable, prepared, read_reports
from models.released.parts.resnet import COLOURS, describe_resnet, enlarge, residual_maps, residual_stages, resnet
from models.released.parts.settings import expect_setting, find_number
from models.released.parts.states import size, under, weights_of
from models.text.gloria_prompts import sample_prompts
from models.text.tokenizer import WordPieceTokenizer
from models.text.words import aggregate

SOURCE = "Huang et al., GLoRIA, ICCV 2021; github.com/marshuang80/gloria"
LICENCE = "The repository is under the Apache licence 2.0; of the weights it states nothing else."
WHOLE, CROP, UPSAMPLED = 256, 224, 299  # sides of a film on its way to the network
TOKENS = 97  # to which texts are cut and padded
LAYERS = 4  # last hidden states that are summed
ATTENTION, WORDS = 4.0, 5.0  # factors of words looking at regions, and of the cosines with what they see
PROMPTS = "prompts.json"  # in the folder of the text encoder: name of a finding -> what to ask for it
SAMPLED = 5  # prompts of a finding that this file does not have


@dataclass(frozen=True)
class Texts:
    """What the text tower says of texts."""

    vectors: Tensor  # (texts, width), the mean over all positions
    words: Tensor  # (texts, positions, width), [CLS] first, [SEP] behind the last word, then zeros
    counts: Tensor  # (texts,) of the words


class ReleasedGloria(ReleasedNetwork):
    """The network at test, or only its image tower, as in a checkpoint of a classifier.

    `lengths` says how many positions behind [CLS] count as words in the local similarity: as many as the raw text has
    `characters`, which is the released code's, or as many `words` as there are. The code fails on texts of 97
    characters or more; here all positions count then.
    """

    size = WHOLE
    lengths = "characters"
    text_batch = 64  # texts read at once

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = resnet(**settings["backbone"])
        pooled, local = (4 * settings["backbone"]["planes"][stage] for stage in (-1, 2))
        self.prompts: dict[str, list[str]] = settings.get("prompts", {})
        self.layers, self.layer_pooling = int(settings.get("layers", LAYERS)), settings.get("layer_pooling", "sum")
        self.size, self.crop = settings.get("whole", WHOLE), settings.get("crop", CROP)
        if width := settings.get("width"):
            self.global_embedder = nn.Linear(pooled, width)
            self.local_embedder = nn.Conv2d(local, width, 1, bias=False)
        if classes := settings.get("classes"):
            self.classifier = nn.Linear(pooled, classes)
        self.reads = "bert" in settings
        if self.reads:
            self.text = TextTower(
                settings["bert"], WordPieceTokenizer(settings["texts"], settings.get("tokens", TOKENS))
            )
        self.local_similarity = WordRegionSimilarity(
            1 / settings.get("attention", ATTENTION), 1 / settings.get("words", WORDS), "words_regions", "max"
        )

    def film(self, film: np.ndarray) -> Tensor:
        """(3, crop, crop) in -1..1: padded to a square of `size`, of which the middle is cut out."""
        return normalise(centre(pad_square(film, self.size), self.crop), (0.5,) * 3, (0.5,) * 3)

    def whole_film(self, film: np.ndarray) -> Tensor:
        """(3, size, size): without the cut."""
        return normalise(pad_square(film, self.size), (0.5,) * 3, (0.5,) * 3)

    def stages(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled (batch, channels) and local features (batch, channels, 19, 19) of the network's input."""
        return residual_stages(self.backbone, enlarge(pixels, UPSAMPLED))

    def look(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (batch, width) and regions (batch, width, 19, 19) of the network's input."""
        self._expect("words", self.reads)
        pooled, local = self.stages(pixels)
        return self.global_embedder(pooled), self.local_embedder(local)

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """As the code prepares them, all of one length."""
        self._expect("words", self.reads)
        return read_reports(self.text.tokenizer, texts).to(self.device)

    def read(self, texts: Sequence[str]) -> Texts:
        """The text tower."""
        tokens = self.tokens(texts)
        layers = torch.stack(self.text(tokens).hidden[-self.layers :])
        summed = layers.sum(0) if self.layer_pooling == "sum" else layers.mean(0)
        words, present = aggregate(summed, tokens.ids, self.text.tokenizer.continues.to(self.device), tokens.mask)
        return Texts(words.mean(1), words, present.sum(1) - 2)

    def local_scores(self, regions: Tensor, texts: Texts, raw: Sequence[str]) -> Tensor:
        """(images, texts) of regions (images, width, rows, columns): how well the words of `raw` texts are found."""
        lengths = texts.counts
        if self.lengths == "characters":
            lengths = torch.tensor([len(text) - text.count("[") for text in raw], device=self.device)
        places = regions.flatten(2).transpose(1, 2)
        return self.local_similarity(places, texts.words, _behind_first(texts.words, lengths))

    def scores(self, pixels: Tensor, texts: Sequence[str]) -> Tensor:
        """(images, texts): the mean of the cosine and of the local similarity, of the network's input."""
        return self._match(*self.look(pixels), texts)

    def class_similarities(self, pixels: Tensor, prompts: Sequence[Sequence[str]]) -> Tensor:
        """(images, classes) of the network's input: the best match with the prompts of each class."""
        return self._best(*self.look(pixels), prompts)

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, channels) mean of the last stage."""
        return self.stages(self.prepare(images))[0]

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of the residual network, fine to coarse, of whole films as large."""
        return residual_maps(self.backbone, enlarge(self.prepare_whole(images), UPSAMPLED * self.size // self.crop))

    def class_logits(self, images: Tensor) -> Tensor:
        """(batch, classes) of the classifier of a checkpoint that has one."""
        self._expect("classes", hasattr(self, "classifier"))
        logits: Tensor = self.classifier(self.image_features(images))
        return logits

    def embed_images(self, images: Tensor) -> Tensor:
        """(batch, width) L2-normalised global vectors."""
        return F.normalize(self.look(self.prepare(images))[0], dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(texts, width) L2-normalised."""
        return torch.cat([F.normalize(part.vectors, dim=-1) for _, part in self._parts(texts)])

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(batch, texts): the mean of the cosine and of the local similarity."""
        return self.scores(self.prepare(images), texts)

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Scores: the logistic function of the best match with a finding's prompts. Maps: attention of their words.

        The code then standardises over the images of a call (`standardise`), which changes no finding's order of them;
        it is left out here, so that a score does not depend on the batch. Prompts are those of `prompts.json`; for
        other findings they are sampled from models/text/gloria_prompts.py, or the finding's name.
        """
        vectors, regions = self.look(self.prepare(images))
        prompts = [self.prompts_of(query) for query in queries]
        attention = torch.stack([self._attention(regions, group).mean(1) for group in prompts], dim=1)
        maps = on_whole(attention, self.crop, self.size, shared=True)
        return ZeroShot(self._best(vectors, regions, prompts).sigmoid(), maps)

    def prompts_of(self, finding: str) -> list[str]:
        """What is asked for a finding."""
        sampled = sample_prompts(finding, SAMPLED, 0) or [finding]
        return self.prompts.get(finding) or [askable(prompt) for prompt in sampled]

    def word_maps(self, images: Tensor, sentences: Sequence[str]) -> WordMaps:
        """Attention of the words over the regions; [CLS] and [SEP] are left out."""
        _, regions = self.look(self.prepare(images))
        texts = self.read(sentences)
        attention = self.attend(regions, texts)[range(len(sentences)), range(len(sentences))]
        words = [self.text.tokenizer.words(prepared(sentence)) for sentence in sentences]
        real = _behind_first(texts.words, texts.counts)[:, 1:, None, None]
        own = (attention[:, 1:] * real)[:, : int(texts.counts.max())]
        return WordMaps(words, on_whole(own, self.crop, self.size, shared=True))

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """Attention of the words, mean over them; a phrase of one word is asked for with `there is` before it."""
        return self.word_maps(images, [askable(phrase) for phrase in phrases]).mean()

    def attend(self, regions: Tensor, texts: Texts) -> Tensor:
        """(images, texts, positions, rows, columns) attention over the regions, whatever `lengths` is; it has a meaning
        at the positions of words."""
        real = _behind_first(texts.words, texts.counts)
        found = self.local_similarity.attend(regions.flatten(2).transpose(1, 2), texts.words, real)
        return found.unflatten(-1, regions.shape[2:])

    def _attention(self, regions: Tensor, texts: Sequence[str]) -> Tensor:
        """(images, texts, rows, columns), the mean over the words."""
        read = self.read(texts)
        real = _behind_first(read.words, read.counts)
        found = (self.attend(regions, read) * real[..., None, None]).sum(2)
        return found / read.counts.clamp_min(1)[:, None, None]

    def _match(self, vectors: Tensor, regions: Tensor, texts: Sequence[str]) -> Tensor:
        vectors = F.normalize(vectors, dim=-1)
        found = [
            (vectors @ F.normalize(read.vectors, dim=-1).T + self.local_scores(regions, read, part)) / 2
            for part, read in self._parts(texts)
        ]
        return torch.cat(found, dim=1)

    def _best(self, vectors: Tensor, regions: Tensor, prompts: Sequence[Sequence[str]]) -> Tensor:
        matches = self._match(vectors, regions, [text for group in prompts for text in group])
        return torch.stack([part.amax(1) for part in matches.split([len(group) for group in prompts], dim=1)], dim=1)

    def _parts(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[str], Texts]]:
        for start in range(0, len(texts), self.text_batch):
            part = texts[start : start + self.text_batch]
            yield part, self.read(part)

    def _expect(self, what: str, there: bool) -> None:
        if not there:
            raise NotImplementedError(f"this checkpoint of GLoRIA holds an image tower that knows no {what}")


def standardise(similarities: Tensor) -> Tensor:
    """(images, classes), each class to mean 0 and deviation 1 over the images, as the code does; one alone stays."""
    if len(similarities) < 2:
        return similarities
    return (similarities - similarities.mean(0)) / similarities.std(0, correction=0)


def _behind_first(words: Tensor, lengths: Tensor) -> Tensor:
    """(texts, positions) bool: so many positions behind the first."""
    positions = torch.arange(words.shape[1], device=words.device)
    return (positions > 0) & (positions <= lengths[:, None])


def recognises(content: Content) -> bool:
    """Whether there is an image tower called `img_encoder`."""
    names = _named(content)
    return "img_encoder.model.conv1.weight" in names or "img_encoder.conv1.weight" in names


def convert(content: Content, texts: Path | None) -> Converted:
    """The file; `texts` is the folder of Bio_ClinicalBERT, and is not needed for a classifier's checkpoint.

    `prompts.json` in that folder gives the prompts of findings.
    """
    found = _named(content)
    inner = "img_encoder.model." if "img_encoder.model.conv1.weight" in found else "img_encoder."
    heads = {name for name in found if name.startswith(("img_encoder.global_embedder", "img_encoder.local_embedder"))}
    backbone = {name: tensor for name, tensor in under(found, inner).items() if f"{inner}{name}" not in heads}
    state = {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    settings: dict[str, Any] = {"backbone": describe_resnet(backbone, COLOURS), **_settings(content)}
    if heads:
        state |= {name.removeprefix("img_encoder."): found[name] for name in heads}
        settings["width"] = size(found, "img_encoder.global_embedder.weight")
    if "classifier.weight" in found:
        settings["classes"] = size(found, "classifier.weight")
    tower = without_buffers(under(found, "text_encoder.model."))
    if tower:
        folder = expect_folder(texts, "Bio_ClinicalBERT")
        settings |= {"bert": describe_bert(tower, folder), "texts": str(folder), "prompts": _prompts(folder)}
        state |= {f"text.bert.{name}": tensor for name, tensor in tower.items()}
    used = ("img_encoder.", "text_encoder.model.")
    state |= {name: tensor for name, tensor in found.items() if not name.startswith(used)}
    return Converted(settings, state)


def build(settings: Mapping[str, Any]) -> ReleasedGloria:
    """The network of a checkpoint's settings."""
    return ReleasedGloria(settings)


def _named(content: Content) -> dict[str, Tensor]:
    """Weights by what follows the last `gloria.` in their names, and the `model.` of a classifier."""
    names = {name.split("gloria.")[-1]: tensor for name, tensor in weights_of(content, "state_dict").items()}
    return {
        name.removeprefix("model.") if name.startswith(("model.img_encoder.", "model.classifier.")) else name: tensor
        for name, tensor in names.items()
    }


def _prompts(folder: Path) -> dict[str, list[str]]:
    path = folder / PROMPTS
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): [str(prompt) for prompt in prompts] for name, prompts in found.items()}
    except (ValueError, AttributeError, TypeError):
        raise ModelError(f"{path} does not give a list of prompts for the name of each finding") from None


def _settings(content: Content) -> dict[str, Any]:
    """What the file's own settings say, in whose place there is what the authors' configuration has."""
    given = "hyper_parameters"
    expect_setting(content, f"{given}.transforms.norm", "half")
    expect_setting(content, f"{given}.model.text.norm", False)
    expect_setting(content, f"{given}.model.text.agg_tokens", True)
    found = {
        "layers": int(find_number(content, f"{given}.model.text.last_n_layers", LAYERS)),
        "layer_pooling": expect_setting(content, f"{given}.model.text.aggregate_method", "sum", "mean"),
        "tokens": int(find_number(content, f"{given}.data.text.word_num", TOKENS)),
        "whole": int(find_number(content, f"{given}.data.image.imsize", WHOLE)),
        "crop": int(find_number(content, f"{given}.transforms.random_crop.crop_size", CROP)),
        "attention": find_number(content, f"{given}.model.gloria.temp1", ATTENTION),
        "words": find_number(content, f"{given}.model.gloria.temp2", WORDS),
    }
    if found["crop"] > found["whole"]:
        raise ModelError(f"the file's settings cut {found['crop']} pixels out of films of {found['whole']}")
    return found
