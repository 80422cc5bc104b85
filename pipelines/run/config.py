"""The run config that the options of a command describe."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from store.errors import SettingError
from store.regular_files import NotRegularError, open_regular

OWN_STEP = {"audit": "audited__", "monitor": "monitored__"}  # kind of a job -> the step that it is about
SECTIONS = ("ops", "resources", "execution", "loggers")
# Option -> field of the resource.
WORKSPACE = {"home": "home", "cohort": "cohort", "root": "archive_root", "preset": "preset"}
LARGEST, MOST_ALIASES, DEEPEST = 1_000_000, 20, 30  # characters, aliases and levels of a run config
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")  # YAML 1.1 takes 1e-4 for text


def build_config(options: Namespace, job: dg.JobDefinition) -> dict[str, Any]:
    """The files of `options`, each over the one before it, and above them `--set` and the options of the workspace.

    Raises:
        SettingError: a file or an option cannot be read.
    """
    config: dict[str, Any] = {}
    for name in options.config:
        config = merge(config, read_config(Path(name)))
    for pair in options.settings:
        config = merge(config, read_setting(pair, job))
    given = {field: getattr(options, name) for name, field in WORKSPACE.items() if getattr(options, name)}
    return merge(config, {"resources": {"workspace": {"config": given}}}) if given else config


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`, field by field."""
    both = {
        name: merge(base[name], value)
        for name, value in over.items()
        if isinstance(value, Mapping) and isinstance(base.get(name), Mapping)
    }
    return {**base, **over, **both}


def read_config(path: Path) -> dict[str, Any]:
    """A run config from a YAML file; SettingError where the file is none."""
    if path.is_dir():
        raise SettingError(f"{path} is a folder: name a file with a run config (YAML) after -c.")
    try:
        with open_regular(path) as file:
            text = file.read(LARGEST + 1).decode()
        if len(text) > LARGEST:
            raise SettingError(f"{path} is larger than any run config: name a file with a run config (YAML) after -c.")
        _expect_few(text, path)
        content = yaml.safe_load(text)
    except NotRegularError:
        raise SettingError(f"{path} is no regular file: name a file with a run config (YAML) after -c.") from None
    except FileNotFoundError:
        raise SettingError(f"There is no file {path}: name a file with a run config (YAML) after -c.") from None
    except UnicodeDecodeError:
        raise SettingError(f"{path} is no text, so it is no run config (YAML).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise SettingError(f"{path}{place} is no YAML: {problem}. Correct it, or name another file.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingError(f"{path} is no run config: it begins with `ops:`, `resources:` or `execution:`.")
    return content


def _expect_few(text: str, path: Path) -> None:
    """Raise SettingError for what unfolds to more than it says, before it is unfolded."""
    aliases = depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        aliases += isinstance(event, yaml.AliasEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if aliases > MOST_ALIASES or depth > DEEPEST:
            what = f"more than {MOST_ALIASES} aliases" if aliases > MOST_ALIASES else f"more than {DEEPEST} levels"
            raise SettingError(f"{path} has {what}, which no run config needs: write the values out.")


def read_setting(pair: str, job: dg.JobDefinition) -> dict[str, Any]:
    """`NAME=VALUE` as a run config.

    A name is the whole path (`ops.images.config.size`), an asset or resource with a field (`images.size`,
    `evaluation.repeats`), or a field of what the job is about: the training in `pretrain_<method>` (`epochs`,
    `method_config.width`), the evaluation in `evaluate_<method>`, the audit in `audit_<method>`, the comparison in
    `monitor_<method>`.
    """
    name, equals, text = pair.partition("=")
    parts = name.strip().split(".")
    if not equals or not all(parts):
        raise SettingError(f"--set takes NAME=VALUE, such as epochs=1, not `{pair}`.")
    value: Any = _read_value(pair, text)
    for part in reversed(_path(parts, [node.name for node in job.graph.nodes], job.name)):
        value = {part: value}
    return value


def _path(parts: Sequence[str], nodes: Collection[str], job: str) -> list[str]:
    first, rest = parts[0], list(parts[1:])
    kind, _, method = job.partition("_")
    if first in SECTIONS:
        return list(parts)
    if rest and first in nodes:
        return ["ops", first, "config", *rest]
    if rest and first in ("workspace", "evaluation"):
        return ["resources", first, "config", *rest]
    if kind == "pretrain":
        return ["ops", f"pretrained__{method}", "config", *parts]
    if kind in OWN_STEP:
        return ["ops", next(name for name in nodes if name.startswith(OWN_STEP[kind])), "config", *parts]
    if kind == "evaluate":
        return ["resources", "evaluation", "config", *parts]
    return ["ops", first, "config", *(rest or [""])]


def _read_value(pair: str, text: str) -> Any:
    if NUMBER.fullmatch(text.strip()):
        return float(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise SettingError(f"--set {pair} has a value that cannot be read: put it in quotes.") from None
