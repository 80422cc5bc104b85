"""The lines of `metrics.jsonl`. Whoever reads them does without those that are damaged. Imports no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

NAME = re.compile(r"[\w ./-]{1,250}")  # what MLflow takes as well
LARGEST_STEP = 2**53  # a number that every reader can hold

Line = Mapping[str, Any]  # step, epoch, and metrics by name


def parse_lines(data: bytes) -> tuple[list[Line], int]:
    """The lines that say what they should, and how many others there are. A last line without an end is no line yet."""
    complete = [line for line in data.split(b"\n")[:-1] if line.strip()]
    parsed = [line for line in map(_parse, complete) if line is not None]
    return parsed, len(complete) - len(parsed)


def _parse(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):  # an error of the encoding is a ValueError
        return None
    if not isinstance(line, dict) or not {"step", "epoch", "metrics"} <= line.keys():
        return None
    step, epoch, metrics = line["step"], line["epoch"], line["metrics"]
    if not isinstance(step, int) or not 0 <= step <= LARGEST_STEP or not _is_number(epoch):
        return None
    if not isinstance(metrics, dict) or not all(map(_is_metric, metrics, metrics.values())):
        return None
    return line


def _is_metric(name: str, value: Any) -> bool:
    return NAME.fullmatch(name) is not None and _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) != float("inf")
