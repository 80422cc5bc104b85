"""Text encoders for other projects: tokenizers as folders of transformers', and how texts are prepared for them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from models.text.clip_tokenizer import ClipTokenizer
from models.text.tokenizer import WordPieceTokenizer

CONFIG = "tokenizer_config.json"
MACHINE = ("name_or_path", "tokenizer_file", "vocab_file", "cache_dir")  # where the files lay; nobody else's business
START, END = "<|startoftext|>", "<|endoftext|>"  # as transformers spells them
CLEANED = {"words": "Texts are lower-cased, and only their words are kept: punctuation and letters outside ASCII go."}
SAMPLES = ("pleural effusion", "No evidence of pneumothorax.", "Heart size is normal; lungs are clear, as before")


def find_tokenizer(network: Any) -> WordPieceTokenizer | ClipTokenizer | None:
    """That of the network's text tower, where it has one."""
    source = getattr(network, "texts", None)
    found: Any = source.tokenizer if source is not None else getattr(getattr(network, "text", None), "tokenizer", None)
    return found if isinstance(found, (WordPieceTokenizer, ClipTokenizer)) else None


def find_bert(network: Any) -> Any:
    """transformers' BertModel in the network, or None."""
    for part in ("text_encoder", "text"):
        if (found := getattr(getattr(network, part, None), "bert", None)) is not None:
            return found
    return None


def save_tokenizer(tokenizer: WordPieceTokenizer | ClipTokenizer, folder: Path) -> None:
    """Write the tokenizer so that `AutoTokenizer.from_pretrained(folder)` opens it."""
    if isinstance(tokenizer, ClipTokenizer):
        found = _clip_tokenizer(tokenizer)
    else:
        found = copy.deepcopy(tokenizer._tokenizer)
        found.model_max_length = tokenizer.length
    folder.mkdir(parents=True, exist_ok=True)
    found.save_pretrained(folder)
    path = folder / CONFIG
    content = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: value for name, value in content.items() if name not in MACHINE}
    path.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def describe_texts(network: Any) -> str:
    """How texts come to the network, in sentences; empty where it reads none."""
    tokenizer = find_tokenizer(network)
    if tokenizer is None:
        return ""
    source = getattr(network, "texts", None)
    cleaned = CLEANED.get(source.cleaning, "") if source is not None else ""
    return f"{cleaned} Texts are cut to {tokenizer.length} tokens, special ones included.".strip()


def _clip_tokenizer(tokenizer: ClipTokenizer) -> Any:
    """CLIP's byte pairs in transformers' class."""
    from transformers import CLIPTokenizer

    pieces = tokenizer._tokenizer
    renamed = {tokenizer.start: START, tokenizer.end: END}
    vocabulary = {renamed.get(number, piece): number for piece, number in pieces.encoder.items()}
    merges = sorted(pieces.bpe_ranks, key=lambda pair: pieces.bpe_ranks[pair])
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=tokenizer.length)
