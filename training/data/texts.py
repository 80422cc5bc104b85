"""The reports as token ids, made once before the first step; a step only looks them up and pads them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from models.distributed import rank
from models.method import Batch, TextSource, Tokens
from models.text.cleaning import CLEANING
from models.text.laterality import mirror_text
from shards.schema import NO_SENTENCE
from store.errors import DamageError
from store.seals import expect_intact, sealing
from training.errors import TrainingError

UNITS = ("report", "sentence", "sentences", "sections")
TOGETHER = UNITS[2:]  # of which a step reads all that a report has
AT_ONCE = 4096  # texts given to the tokenizer in one call
NO_TEXT = -1
MADE_AGAIN = "it is made again from the shards."

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportTexts:
    """What a method may read of each row's report. A text that many reports share is kept once.

    Row r has the texts `owned[row_starts[r]:row_starts[r + 1]]`, and text t the ids `ids[starts[t]:starts[t + 1]]`.
    """

    together: bool  # whether a step reads all texts of a row, in their order, or one

    ids: np.ndarray  # (tokens of all texts,) int32
    starts: np.ndarray  # (texts + 1,)
    owned: np.ndarray  # (texts of all rows,); NO_TEXT: a section that the report does not have
    sentences: np.ndarray  # (texts of all rows,) which sentence of its row each is; NO_SENTENCE: not one alone
    row_starts: np.ndarray  # (rows + 1,)
    mirrors: np.ndarray  # (texts,) the text that describes the mirrored image; NO_TEXT: there is none
    pad: int  # id behind the end of shorter texts

    @property
    def readable(self) -> np.ndarray:
        """(rows,) bool: whether there is a text at all."""
        texts = np.concatenate([[0], np.cumsum(self.owned != NO_TEXT)])
        return np.diff(texts[self.row_starts]) > 0

    def sample(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(rows, texts) places in `owned`: one of each row's, uniformly, or all of them; NO_TEXT fills the others."""
        counts = self.row_starts[rows + 1] - self.row_starts[rows]
        if not self.together:
            return (self.row_starts[rows] + rng.integers(counts))[:, None]
        numbers = np.arange(counts.max(initial=0))
        return np.where(numbers < counts[:, None], self.row_starts[rows][:, None] + numbers, NO_TEXT)

    def can_mirror(self, places: np.ndarray) -> np.ndarray:
        """(rows,) bool: whether there are texts for the mirrored image."""
        texts = self._texts(places)
        return ((texts == NO_TEXT) | (self.mirrors[texts] != NO_TEXT)).all(1)

    def build_batch(self, images: Tensor, places: np.ndarray, mirrored: np.ndarray) -> Batch:
        """The images with the token ids of their texts, or of the mirror images of these, padded to the longest.

        Of one text per row the tokens are (rows, length), of several (rows, texts, length).
        """
        texts = self._texts(places)
        texts = np.where(mirrored[:, None] & (texts != NO_TEXT), self.mirrors[texts], texts)
        lengths = np.where(texts == NO_TEXT, 0, self.starts[texts + 1] - self.starts[texts])
        mask = np.arange(lengths.max()) < lengths[..., None]
        letters = np.where(mask, self.starts[texts][..., None] + np.arange(lengths.max()), 0)
        ids = np.where(mask, self.ids[letters], self.pad).astype(np.int64)
        tokens = Tokens(torch.from_numpy(ids), torch.from_numpy(mask))
        return Batch(images, tokens if self.together else tokens.apply(lambda tensor: tensor[:, 0]))

    def owners(self, places: np.ndarray) -> np.ndarray:
        """(rows,) the row that sampled places, (rows, texts), belong to."""
        return np.searchsorted(self.row_starts, places[:, 0], side="right") - 1

    def _texts(self, places: np.ndarray) -> np.ndarray:
        return np.where(places == NO_TEXT, NO_TEXT, self.owned[places])

    def save(self, path: Path, made_by: str = "") -> None:
        """Write to `path`, atomically, and seal the file; `made_by` tells what it was made from."""
        with sealing(path) as partial, partial.open("wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)}, made_by=made_by)

    @classmethod
    def load(cls, path: Path, made_by: str = "") -> ReportTexts:
        """Read what `save` wrote; DamageError where it is damaged, or was made from something else."""
        with np.load(expect_intact(path, MADE_AGAIN), allow_pickle=False) as content:
            if str(content["made_by"]) != made_by:
                raise DamageError(f"{path} is of another run; {MADE_AGAIN}")
            arrays = {name: content[name] for name in content.files if name not in ("pad", "together", "made_by")}
            return cls(**arrays, pad=int(content["pad"]), together=bool(content["together"]))


def cached_texts(
    cache: Path, table: Callable[[], pa.Table], source: TextSource, mirrored: bool, made_by: str = ""
) -> ReportTexts:
    """What an earlier start of the same run left in `cache`, or else the `sentences` of the table, tokenised.

    `made_by` tells everything that decides the tokens. The first process of a run writes the file.
    """
    if cache.exists():
        try:
            return ReportTexts.load(cache, made_by)
        except DamageError as error:
            logger.warning("%s", error)
    texts = read_texts(table()["sentences"], source, mirrored)
    if rank() == 0:
        texts.save(cache, made_by)
    return texts


def read_texts(sentences: pa.ChunkedArray, source: TextSource, mirrored: bool) -> ReportTexts:
    """Tokenise the texts that `source` takes from the `sentences` of the shards.

    With `mirrored`, the texts of mirrored images are added.
    """
    if source.unit not in UNITS or source.cleaning not in CLEANING:
        raise TrainingError(
            f"texts are read by {' or '.join(UNITS)} and cleaned by {' or '.join(CLEANING)}, not by "
            f"`{source.unit}` and `{source.cleaning}`"
        )
    clean = CLEANING[source.cleaning]
    texts: dict[str, int] = {}  # every text to read, and its number
    raw: list[str] = []  # before cleaning, which takes away what tells left from right
    owned: list[int] = []
    places: list[int] = []
    row_starts = [0]
    for candidates in _candidates(sentences, source):
        for candidate, place in candidates:
            if clean(candidate):
                if candidate not in texts:
                    texts[candidate] = len(raw)
                    raw.append(candidate)
                owned.append(texts[candidate])
                places.append(place)
            elif source.unit == "sections":
                owned.append(NO_TEXT)
                places.append(NO_SENTENCE)
        row_starts.append(len(owned))
    mirrors = _mirrors(raw, texts) if mirrored else np.full(len(raw), NO_TEXT)
    ids, starts = _tokenise([clean(text) for text in raw], source)
    texts_of_rows, sentences_of_rows = np.array(owned, np.int64), np.array(places, np.int64)
    together, starts_of_rows, pad = source.unit in TOGETHER, np.array(row_starts), source.tokenizer.pad
    return ReportTexts(together, ids, starts, texts_of_rows, sentences_of_rows, starts_of_rows, mirrors, pad)


def _candidates(sentences: pa.ChunkedArray, source: TextSource) -> Iterator[list[tuple[str, int]]]:
    """For every row the texts that a step may read, and which sentence of the row each is."""
    sections = _choose_sections(sentences, source.sections)
    for start in range(0, len(sentences), AT_ONCE):
        for row in sentences[start : start + AT_ONCE].to_pylist():
            by_section = [
                [
                    (sentence["text"], place)
                    for place, sentence in enumerate(row)
                    if sentence["section"] == section and len(sentence["text"].split()) >= source.minimum_words
                ]
                for section in sections
            ]
            if source.minimum_report_words and _count_words(by_section, source) < source.minimum_report_words:
                by_section = [[] for _ in sections]
            yield _units(by_section, source)


def _units(by_section: list[list[tuple[str, int]]], source: TextSource) -> list[tuple[str, int]]:
    """The texts of a row from the sentences of each section, with their places; what stands in for none of them."""
    missing = (source.missing, NO_SENTENCE)
    if source.unit == "sections":
        return [(_join(wanted), NO_SENTENCE) for wanted in by_section]
    wanted = [sentence for section in by_section for sentence in section]
    if source.unit == "report":
        return [(_join(wanted) or source.missing, NO_SENTENCE)]
    return wanted or [missing]


def _count_words(by_section: list[list[tuple[str, int]]], source: TextSource) -> int:
    clean = CLEANING[source.cleaning]
    return sum(len(clean(text).split()) for section in by_section for text, _ in section)


def _join(sentences: list[tuple[str, int]]) -> str:
    return " ".join(text for text, _ in sentences)


def _choose_sections(sentences: pa.ChunkedArray, sections: tuple[str, ...]) -> list[str]:
    """Of each entry that names several sections ("a/b"), the first that any report has."""
    known = set(pc.unique(pc.struct_field(pc.list_flatten(sentences), "section")).to_pylist())
    choices = [section.split("/") for section in sections]
    return [next((name for name in names if name in known), names[0]) for names in choices]


def _mirrors(raw: list[str], texts: dict[str, int]) -> np.ndarray:
    """The number of each text's mirror image, which is added to `raw` where no report says it."""
    mirrors = []
    for text in list(raw):
        mirrored = mirror_text(text)
        if mirrored is not None and mirrored not in texts:
            texts[mirrored] = len(raw)
            raw.append(mirrored)
        mirrors.append(NO_TEXT if mirrored is None else texts[mirrored])
    return np.array(mirrors, np.int64)


def _tokenise(texts: list[str], source: TextSource) -> tuple[np.ndarray, np.ndarray]:
    """Ids of all texts in one array, and where each begins."""
    parts = [np.empty(0, np.int32)]
    lengths: list[int] = []
    for start in range(0, len(texts), AT_ONCE):
        encoded = source.tokenizer.encode(texts[start : start + AT_ONCE])
        lengths += map(len, encoded)
        parts.append(np.fromiter(_flat(encoded), np.int32))
    return np.concatenate(parts), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _flat(lists: Iterable[list[int]]) -> Iterator[int]:
    for one in lists:
        yield from one
