"""Mistakes in a run config, each in one sentence: what Dagster and pydantic say of them takes pages."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

import dagster as dg
from pydantic import ValidationError

from store.errors import nearest
from training.config import RENAMED as RENAMED_OPTIONS

RENAMED = {**RENAMED_OPTIONS, "draws": "repeats"}
KINDS = {  # Dagster's name of a type -> how people call it
    "Int": "a whole number",
    "Float": "a number",
    "Bool": "true or false",
    "String": "text",
    "Array": "a list",
    "dict": "a list of fields with values",
    "Noneable": "a value or nothing",
}
EXPECTED = re.compile(r'Expected: "\{(.*)\}"', re.DOTALL)
TYPE = re.compile(r'expected type "\(?\[?(\w+)')
PATH = re.compile(r"at path (root\S*?)[.\s]")
NUMBER = re.compile(r"'[-+]?\d+(\.\d*)?[eE]\d+'|'[-+]?\d+[eE][-+]?\d+'")  # what YAML 1.1 takes for text
SHOWN = 100  # characters of a wrong value
MOST_NAMES = 12


def explain_config(error: Exception) -> str:
    """A sentence on the first mistake in a run config: the field, what is wrong with it, and the nearest known name."""
    if isinstance(error, ValidationError):
        return explain_value(error, "the run config")
    if not isinstance(error, dg.DagsterInvalidConfigError):
        cause = error.__cause__
        return explain_config(cause) if isinstance(cause, Exception) else str(error).partition("\n")[0]
    first, *others = error.errors
    data, message = first.error_data, first.message
    place = _place(message)
    more = f" ({len(others)} more mistakes follow.)" if others else ""
    names = [*getattr(data, "field_names", ()), *filter(None, [getattr(data, "field_name", "")])]
    reason = first.reason.value
    if reason.startswith("FIELD") and "NOT_DEFINED" in reason:
        return _unknown(names[0], place, list(_known(message))) + more
    if reason.startswith("MISSING"):
        return f"The run config lacks the field `{names[0]}` under {place}: give it a value.{more}"
    if reason == "SELECTOR_FIELD_ERROR":
        return _selector(place, data) + more
    if reason == "RUNTIME_TYPE_MISMATCH":
        return _wrong_type(place, message, str(getattr(data, "value_rep", ""))) + more
    return f"The run config cannot be used, at {place}: {message.partition(chr(10))[0]}{more}"


def explain_value(error: ValidationError, place: str) -> str:
    """A sentence on the first field that pydantic refuses."""
    first = error.errors()[0]
    where = ".".join([place, *map(str, first["loc"])])
    said = first["msg"].removeprefix("Value error, ").rstrip(".")
    if first["type"] == "value_error":  # our own words, which name the field
        return f"In {place}, {said}."
    return f"{where} is {textwrap.shorten(repr(first['input']), SHOWN)}: {said[:1].lower()}{said[1:]}."


def _unknown(name: str, place: str, known: Sequence[str]) -> str:
    guess = RENAMED.get(name) or nearest(name, known)
    if guess in known:
        return f"{place} has no field `{name}`; did you mean `{guess}`?"
    listed = ", ".join(known[:MOST_NAMES]) + (", ..." if len(known) > MOST_NAMES else "")
    return f"{place} has no field `{name}`; {f'its fields are {listed}' if listed else 'it has none'}."


def _selector(place: str, data: object) -> str:
    known = [field.name for field in getattr(getattr(data, "config_type_snap", None), "fields", None) or ()]
    given = list(getattr(data, "incoming_fields", ()))
    if len(given) == 1 and given[0] not in known:
        return _unknown(given[0], place, known)
    return f"{place} takes exactly one of {', '.join(known)}, not {len(given)}."


def _wrong_type(place: str, message: str, value: str) -> str:
    match = TYPE.search(message)
    kind = match[1].removesuffix("Source") if match else "Array" if "must be list" in message else "dict"
    hint = ""
    if kind in ("Float", "Int") and NUMBER.fullmatch(value):
        hint = " YAML reads it as text without a point and a sign in it: write it like 1.0e-4."
    elif kind == "Bool" and value.strip("'").lower() in ("true", "false", "yes", "no"):
        hint = " Leave the quotes out."
    if "selector type" in message:  # Dagster's type of a value, or of the variable that holds it
        return f"{place} is {value}, but must be a single value."
    shown = value if len(value) <= 60 else f"{value[:57]}..."
    return f"{place} is {shown}, but must be {KINDS.get(kind, kind)}.{hint}"


def _place(message: str) -> str:
    """Where in a run config a message of Dagster points to, such as ops.images.config.size."""
    match = PATH.search(message)
    path = match[1].removeprefix("root").lstrip(":") if match else ""
    return path.replace(":", ".") or "The run config"


def _known(message: str) -> Iterator[str]:
    """The fields that a message of Dagster says are expected: the names at the outermost level of its type."""
    match = EXPECTED.search(message)
    depth = 0
    for token in re.findall(r"[{}()\[\]]|\w+\??:", match[1] if match else ""):
        if token in "{([":
            depth += 1
        elif token in "})]":
            depth -= 1
        elif depth == 0:
            yield token.rstrip("?:")
