"""MGCA's released checkpoints (Wang et al., NeurIPS 2022; github.com/HKU-MedAI/MGCA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.dual_encoder import DualEncoder
from models.encoders.fusion.cross_attention import attend
from models.encoders.heads.mgca_projection import ProjectionHead
from models.method import Tokens, WordMaps, ZeroShot
from models.released.files.containers import Content
from models.released.network import ReleasedNetwork
from models.released.opening import Converted
from models.released.parts.bert import TextTower, describe_bert, expect_folder, without_buffers
from models.released.parts.films import centre, normalise, pad_square
from models.released.parts.maps import on_whole
from models.released.parts.reports import askable, prepared, read_reports
from models.released.parts.resnet import COLOURS, describe_resnet, enlarge, residual_maps, residual_stages, resnet
from models.released.parts.states import size, under, weights_of
from models.released.parts.vit import describe_vit, patch_attention, vit, vit_tokens
from models.text.prompts import PromptPair
from models.text.tokenizer import WordPieceTokenizer
from models.text.words import aggregate_shifted

SOURCE = "Wang et al., MGCA, NeurIPS 2022, arXiv 2210.06044; github.com/HKU-MedAI/MGCA"
LICENCE = "The repository states no licence: ask the authors before you pass the weights or results on."
WHOLE, UPSAMPLED = 256, 299  # sides of a film on its way to the network
CROP = 224  # of it, for a residual network; a transformer's positions say it themselves
TOKENS = 112
TEMPERATURE = 0.1  # of words looking at patches
IMAGES, TEXTS = "img_encoder_q.", "text_encoder_q."
TRANSFORMER = "model.patch_embed.proj.weight"
HEADS = {  # ours -> the file's
    "image_head": f"{IMAGES}global_embed.head.",
    "patch_head": f"{IMAGES}local_embed.head.",
    "report_head": f"{TEXTS}global_embed.head.",
    "word_head": f"{TEXTS}local_embed.head.",
}
LAYERS = {"0": "hidden", "1": "hidden_norm.norm", "3": "output", "4": "output_norm.norm"}  # of a head
UNUSED = ("word_local_atten_layer.", "patch_local_atten_layer.")  # without gradient unless `use_local_atten`
TYPES = "embeddings.token_type_embeddings.weight"


class ReleasedMgca(ReleasedNetwork, DualEncoder):
    """The network at test: two towers, their heads, the prototypes, and words that look at patches.

    The authors' text tower takes the types of tokens for their positions, so that all stand at the first: so here.

    The repository classifies nothing without training. A finding is scored here by the softmax of the cosines with the
    prompts below, of which each has two words because the text preparation drops sentences of one, and located by the
    attention of the words, as their local loss has it.
    """

    size = WHOLE
    prompts = PromptPair("there is {}", "there is no {}")

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        hidden, dim = settings["hidden"], settings["dim"]
        self.transformer = "vit" in settings
        if self.transformer:
            self.backbone: Any = vit(**settings["vit"])
            self.crop, pooled = settings["vit"]["image_size"], settings["vit"]["width"]
            local = pooled
        else:
            self.backbone = resnet(**settings["backbone"])
            self.crop = CROP
            pooled, local = (4 * settings["backbone"]["planes"][stage] for stage in (-1, 2))
        self.image_head, self.patch_head = ProjectionHead(pooled, hidden, dim), ProjectionHead(local, hidden, dim)
        self.text = TextTower(settings["bert"], WordPieceTokenizer(settings["texts"], TOKENS))
        self.text.bert.set_attn_implementation("eager")  # the one that gives its attention
        self.report_head = ProjectionHead(self.text.width, hidden, dim)
        self.word_head = ProjectionHead(self.text.width, hidden, dim)
        self.prototypes = nn.Linear(dim, settings["prototypes"], bias=False)
        self.temperature = float(settings["temperature"])

    def film(self, film: np.ndarray) -> Tensor:
        """(3, side, side) in -1..1: padded to a square of 256, of which the middle is cut out."""
        return normalise(centre(pad_square(film, WHOLE), self.crop), (0.5,) * 3, (0.5,) * 3)

    def whole_film(self, film: np.ndarray) -> Tensor:
        """(3, 256, 256): without the cut."""
        return normalise(pad_square(film, WHOLE), (0.5,) * 3, (0.5,) * 3)

    def look(self, pixels: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Pooled (batch, channels) and local features (batch, places, channels) of the network's input, and the grid.

        A residual network's are of its last and its third stage, a transformer's its class token and its patches.
        """
        if self.transformer:
            return *vit_tokens(self.backbone, pixels), self.backbone.patch_embed.grid_size
        pooled, local = residual_stages(self.backbone, enlarge(pixels, UPSAMPLED))
        return pooled, local.flatten(2).transpose(1, 2), (local.shape[2], local.shape[3])

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Vectors (batch, dim) and patches (batch, places, dim) of the network's input, not normalised; the grid."""
        pooled, local, grid = self.look(images)
        return self.image_head(pooled), self.patch_head(local), grid

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """As the code prepares them, all of one length."""
        return read_reports(self.text.tokenizer, texts).to(self.device)

    def read(self, tokens: Tokens) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reports (texts, width), words (texts, places, width), the attention on them and their mask (texts, places).

        [CLS] is left out of the words, [SEP] is one.
        """
        nowhere = torch.zeros_like(tokens.ids)
        output = self.text.bert(tokens.ids, tokens.mask.long(), position_ids=nowhere, output_attentions=True)
        states, attention = output.last_hidden_state, output.attentions[-1][:, :, 0].mean(1)
        continues = self.text.tokenizer.continues.to(self.device)
        words, weights, present = aggregate_shifted(states, attention, tokens.ids, continues, tokens.mask, TOKENS)
        return states[:, 0], words[:, 1:], weights[:, 1:], present[:, 1:]

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dim), not normalised."""
        return self.report_head(self.read(tokens)[0])

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(texts, dim) L2-normalised."""
        parts = [texts[start : start + self.text_batch] for start in range(0, len(texts), self.text_batch)]
        return torch.cat([F.normalize(self.project_texts(self.tokens(part)), dim=-1) for part in parts])

    def image_features(self, images: Tensor) -> Tensor:
        """(batch, channels): the class token, or the mean of the last stage."""
        return self.look(self.prepare(images))[0]

    def image_maps(self, images: Tensor) -> list[Tensor]:
        """Maps (batch, channels, rows, columns) of whole films, fine to coarse.

        For a residual network they are as large as otherwise; for a transformer, which has one map, the film is reduced
        to the side that its positions are for.
        """
        whole = self.prepare_whole(images)
        if not self.transformer:
            return residual_maps(self.backbone, enlarge(whole, UPSAMPLED * WHOLE // CROP))
        _, local, grid = self.look(F.interpolate(whole, size=(self.crop, self.crop), mode="bilinear", antialias=True))
        return [local.transpose(1, 2).unflatten(2, grid)]

    def class_attention(self, pixels: Tensor) -> Tensor:
        """(batch, patches) attention of a transformer's class token in the last block, mean over the heads."""
        if not self.transformer:
            raise NotImplementedError("this checkpoint of MGCA has a residual network, which has no class token")
        return patch_attention(self.backbone, pixels)

    def prototype_scores(self, pixels: Tensor) -> Tensor:
        """(batch, prototypes): cosines of the network's input with the prototypes."""
        vectors = F.normalize(self.project_images(pixels)[0], dim=-1)
        return vectors @ F.normalize(self.prototypes.weight, dim=-1).T

    def word_attention(self, patches: Tensor, words: Tensor) -> Tensor:
        """(batch, words, places) attention of words (batch, words, width) over patches (batch, places, dim)."""
        looking = F.normalize(self.word_head(words), dim=-1)
        return attend(looking, F.normalize(patches, dim=-1), self.temperature)

    def word_maps(self, images: Tensor, sentences: Sequence[str]) -> WordMaps:
        """Attention of the words over the patches; [CLS] and [SEP] are left out."""
        _, patches, grid = self.project_images(self.prepare(images))
        _, words, _, mask = self.read(self.tokens(sentences))
        longest = max(1, int(mask.sum(1).max()) - 1)
        real = mask[:, 1 : longest + 1]  # as many as there are words without [SEP]
        attention = self.word_attention(patches, words[:, :longest]) * real[..., None]
        said = [self.text.tokenizer.words(prepared(sentence)) for sentence in sentences]
        return WordMaps(said, on_whole(attention.unflatten(-1, grid), self.crop, WHOLE, shared=True))

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """Attention of the words, mean over them; a phrase of one word is asked for with `there is` before it."""
        return self.word_maps(images, [askable(phrase) for phrase in phrases]).mean()

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Softmax of the cosines with the two prompts; attention of the words of the first, mean over them."""
        vectors, patches, grid = self.project_images(self.prepare(images))
        positive, negative = (F.normalize(vectors, dim=-1) @ side.T for side in self.prompt_vectors(queries))
        _, words, _, mask = self.read(self.tokens([self.prompts.fill(query)[0][0] for query in queries]))
        real = F.pad(mask[:, 1:], (0, 1))
        every = words.flatten(0, 1).expand(len(patches), -1, -1)
        attention = self.word_attention(patches, every).unflatten(1, real.shape) * real[..., None]
        located = attention.sum(2) / real.sum(1).clamp_min(1)[:, None]
        maps = on_whole(located.unflatten(-1, grid), self.crop, WHOLE, shared=True)
        return ZeroShot(self.presence(positive, negative), maps)


def recognises(content: Content) -> bool:
    """Whether there are the towers `img_encoder_q` and `text_encoder_q`."""
    names = weights_of(content, "state_dict")
    return all(any(name.startswith(prefix) for name in names) for prefix in (f"{IMAGES}model.", f"{TEXTS}model."))


def convert(content: Content, texts: Path | None) -> Converted:
    """The file; `texts` is the folder of Bio_ClinicalBERT."""
    found = weights_of(content, "state_dict")
    folder = expect_folder(texts, "Bio_ClinicalBERT")
    backbone = under(found, f"{IMAGES}model.")
    tower = {
        name: tensor
        for name, tensor in without_buffers(under(found, f"{TEXTS}model.")).items()
        if ".crossattention." not in name and name != TYPES
    }
    described = describe_bert(tower, folder)
    transformer = f"{IMAGES}{TRANSFORMER}" in found
    settings: dict[str, Any] = {
        **({"vit": describe_vit(backbone)} if transformer else {"backbone": describe_resnet(backbone, COLOURS)}),
        "bert": described,
        "texts": str(folder),
        "hidden": size(found, f"{HEADS['image_head']}0.weight"),
        "dim": size(found, f"{HEADS['image_head']}3.weight"),
        "prototypes": size(found, "prototype_layer.weight"),
        "temperature": _temperature(content),
    }
    state = {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    state |= {f"text.bert.{name}": tensor for name, tensor in tower.items()}
    state[f"text.bert.{TYPES}"] = torch.zeros(described["type_vocab_size"], described["hidden_size"])
    for ours, theirs in HEADS.items():
        state |= {f"{ours}.{name}": tensor for name, tensor in _head(under(found, theirs)).items()}
    state["prototypes.weight"] = found["prototype_layer.weight"]
    known = (f"{IMAGES}model.", f"{TEXTS}model.", *HEADS.values(), *UNUSED, "prototype_layer.weight")
    state |= {name: tensor for name, tensor in found.items() if not name.startswith(known)}
    return Converted(settings, state)


def build(settings: Mapping[str, Any]) -> ReleasedMgca:
    """The network of a checkpoint's settings."""
    return ReleasedMgca(settings)


def _temperature(content: Content) -> float:
    """Of words looking at patches, where the file says it in plain values."""
    given: Any = content.get("hyper_parameters")
    found = given.get("local_temperature") if isinstance(given, Mapping) else None
    return float(found) if isinstance(found, int | float) and found > 0 else TEMPERATURE


def _head(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A head's weights by our names; those of a convolution over single places as the linear map that it is."""
    state = {}
    for name, tensor in found.items():
        layer, _, rest = name.partition(".")
        state[f"{LAYERS.get(layer, layer)}.{rest}"] = tensor.squeeze(-1) if tensor.ndim == 3 else tensor
    return state
