"""Texts before they reach an encoder: cleaning, tokenizers, prompts, and sides in mirrored texts."""
