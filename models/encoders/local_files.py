"""Local files that settings name: weights to start from, folders of encoders. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from models.run_files import TRAINED
from store.digests import fingerprint, known_digest

ENCODER = "config.json"  # in the folder of an encoder


def named_files(settings: Mapping[str, Any]) -> dict[str, str]:
    """The digest of what each setting names, where that is a file, the folder of an encoder, or the folder of a run.

    The same name with other content gives another network.
    """
    return {name: digest for name, value in settings.items() if (digest := _digest(value))}


def named_encoders(settings: Mapping[str, Any]) -> dict[str, str]:
    """Those that are folders of encoders, which a trained network still reads: they hold the tokenizer."""
    found = named_files(settings)
    return {name: found[name] for name in found if (Path(settings[name]) / ENCODER).is_file()}


def _digest(value: Any) -> str:
    """Empty where `value` names nothing that is there."""
    if not isinstance(value, str) or not value:
        return ""
    path = Path(value)
    try:
        if path.is_file():
            return known_digest(path)
        digests = {file.name: known_digest(file) for file in _files(path)}
        return fingerprint(digests) if digests else ""
    except OSError:  # a long text is no path
        return ""


def _files(folder: Path) -> Iterator[Path]:
    """What is read of a folder: the weights of a run, or all files of an encoder."""
    if (folder / TRAINED).is_file():
        yield folder / TRAINED
    elif (folder / ENCODER).is_file():
        yield from sorted(path for path in folder.iterdir() if path.is_file())
