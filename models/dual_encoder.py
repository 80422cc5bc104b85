"""Methods that bring images and texts into one space: retrieval, zero-shot scores and maps follow from the cosine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.method import Method, Tokens, ZeroShot
from models.text.prompts import PromptPair


class DualEncoder(Method):
    """An image tower and a text tower with a projection each. A method says how the two are projected."""

    contrasts_pairs = True
    prompts = PromptPair()
    text_batch = 256  # texts embedded at once
    no_space = ""  # the settings without which no loss trains the space that images and texts share
    unit_prompts = True  # whether prompts that mean the same are averaged as unit vectors, or as they are projected

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Network input -> vectors (batch, dim), vectors of the locations (batch, locations, dim), and their grid.

        All in the space shared with texts, not normalised. A method without local terms applies its projection of the
        pooled features to each location's.
        """
        raise NotImplementedError

    def project_texts(self, tokens: Tokens) -> Tensor:
        """(texts, dim), not normalised."""
        raise NotImplementedError

    def expect_space(self) -> None:
        """NotImplementedError where no loss has trained the projections, whose cosines would be those of the start."""
        if self.no_space:
            raise NotImplementedError(f"{self.called} with {self.no_space} has no joint space")

    def embed_images(self, images: Tensor) -> Tensor:
        """(batch, dim) L2-normalised."""
        self.expect_space()
        return F.normalize(self.project_images(self.prepare(images))[0].float(), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(texts, dim) L2-normalised."""
        return F.normalize(self.text_vectors(texts), dim=-1)

    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """(texts, dim) as they are projected, in single precision."""
        self.expect_space()
        assert self.texts is not None
        device = next(self.parameters()).device
        parts = [texts[start : start + self.text_batch] for start in range(0, len(texts), self.text_batch)]
        return torch.cat([self.project_texts(self.texts.tokens(part, device)) for part in parts]).float()

    def prompt_vectors(self, queries: Sequence[str]) -> Tensor:
        """(2, queries, dim): per query the mean direction of its positive, and of its negative prompts."""
        pairs = [self.prompts.fill(query) for query in queries]
        sides = [self._mean_directions([pair[side] for pair in pairs]) for side in (0, 1)]
        return torch.stack(sides)

    def _mean_directions(self, groups: Sequence[Sequence[str]]) -> Tensor:
        texts = [text for group in groups for text in group]
        vectors = self.embed_texts(texts) if self.unit_prompts else self.text_vectors(texts)
        means = [part.mean(0) for part in vectors.split([len(group) for group in groups])]
        return F.normalize(torch.stack(means), dim=-1)

    def zero_shot(self, images: Tensor, queries: Sequence[str]) -> ZeroShot:
        """Scores: `presence`. Maps: cosine of each location with the positive prompt, from 0 (opposite) to 1 (same)."""
        pooled, local, grid = self.project_images(self.prepare(images))
        positive, negative = self.prompt_vectors(queries)
        pooled, local = F.normalize(pooled.float(), dim=-1), F.normalize(local.float(), dim=-1)
        scores = self.presence(pooled @ positive.T, pooled @ negative.T)
        maps = (1 + local @ positive.T) / 2
        return ZeroShot(scores, maps.transpose(1, 2).unflatten(-1, grid))

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """Cosine of each location with the phrase, from 0 (opposite) to 1 (same), as in BioViL."""
        _, local, grid = self.project_images(self.prepare(images))
        cosines = (F.normalize(local.float(), dim=-1) * self.embed_texts(phrases)[:, None]).sum(-1)
        return ((1 + cosines) / 2).unflatten(-1, grid)

    def presence(self, positive: Tensor, negative: Tensor) -> Tensor:
        """(batch, queries) in 0..1 from the cosines with the prompts: their softmax, without temperature (CheXzero)."""
        return (positive - negative).sigmoid()
