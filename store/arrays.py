"""Arrays that took long to compute, kept in a file with the key of what they were computed from.

A file that is damaged, or that holds another key than its reader expects, is set aside, and the arrays are computed
again.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from store.errors import DamageError
from store.seals import expect_intact, is_sealed, sealing, set_aside

KEY = "key"  # the entry with the key, as JSON
AGAIN = "it is made again."


def keep_arrays(
    path: Path,
    key: Mapping[str, Any],
    compute: Callable[[], Sequence[np.ndarray]],
    log: Callable[[str], object],
) -> list[np.ndarray]:
    """The arrays in the file `path` if it was written for this `key`, else those of `compute`, which are kept there.

    `key` holds values that JSON can write. `log` is told of a damaged file.
    """
    kept = _read(path, key, log)
    if kept is not None:
        return kept
    arrays = [np.asarray(array) for array in compute()]
    named = {f"array_{place}": array for place, array in enumerate(arrays)}
    with sealing(path) as partial, partial.open("wb") as file:
        np.savez(file, **{KEY: np.array(_as_text(key))}, **named)  # type: ignore[arg-type]
    return arrays


def _read(path: Path, key: Mapping[str, Any], log: Callable[[str], object]) -> list[np.ndarray] | None:
    if not path.exists() and not is_sealed(path):
        return None
    try:
        expect_intact(path, AGAIN)
        with np.load(path, allow_pickle=False) as kept:
            if str(kept[KEY]) != _as_text(key):
                raise DamageError(f"{path} was made from something else and is set aside as {_aside(path)}; {AGAIN}")
            return [kept[name] for name in kept.files if name != KEY]
    except DamageError as error:
        log(str(error))
    except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile):
        log(f"{path} is not a file of arrays with their key and is set aside as {_aside(path)}; {AGAIN}")
    return None


def _aside(path: Path) -> str:
    return set_aside(path).name


def _as_text(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True, separators=(",", ":"))
