"""The model card of an export: README.md, with the front matter that model hubs read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import yaml

from evaluation.results.markdown import escape_markdown, markdown_table
from evaluation.results.text_tables import format_value
from radalign.exporting.facts import Facts
from radalign.exporting.preparation import LONGEST, Preparation
from radalign.exporting.subject import Subject, Written
from radalign.exporting.targets.safetensors import is_place
from radalign.exporting.texts import describe_texts

UNKNOWN = "not known"
WARNING = "**Not a medical device.** For research; not for diagnosis, treatment or any other clinical use."
USE = (
    "Features of frontal and lateral chest radiographs for research: retrieval, zero-shot classification, and a start "
    "for classifiers. Scores order images; they are not probabilities of disease. The network was not examined for "
    "fairness between groups of patients, and images of another hospital or device may be read worse."
)
PRIVACY = "Neither report text nor names, numbers or images of patients are in this folder."
PREPARE = (
    "One grey image of 0 to 255, bright where the display is bright: a DICOM file is rendered with its window and its "
    "photometric interpretation first (`radalign` does it by itself)."
)
TASKS = {True: "zero-shot-image-classification", False: "image-feature-extraction"}


def write_card(subject: Subject, facts: Facts, written: Written, to: str) -> str:
    """The text of README.md."""
    front = yaml.safe_dump(_front_matter(facts, written), sort_keys=False)
    parts = [f"---\n{front}---", f"# {escape_markdown(facts.name or facts.method)}, exported to {to}", WARNING]
    parts += [markdown_table(("", ""), list(_rows(facts))), f"## Intended use\n\n{USE}"]
    parts.append(
        f"## Load\n\n```python\n{written.load}\n```\n\n`FOLDER` stands for this folder, an image for a prepared one."
    )
    parts.append("## Prepare images\n\n" + "\n".join(f"- {line}" for line in _preparation(subject.preparation)))
    if texts := describe_texts(subject.network):
        parts.append(f"## Texts\n\n{texts}")
    if written.notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in written.notes))
    parts.append(f"## Measured\n\n{_measured(facts.results)}")
    parts.append(f"## Exactness\n\n{_exactness(written)}")
    parts.append(f"## Settings\n\n{_settings(subject, facts)}")
    parts.append(f"## Licence\n\n{facts.licence}\n\n{PRIVACY}")
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: Facts, written: Written) -> dict[str, Any]:
    compares = any(name.startswith(("vectors of texts", "embedding of texts")) for name in written.differences)
    return {
        "library_name": written.library,
        "pipeline_tag": TASKS[compares],
        "license": "other",
        "license_name": "as-stated-below",
        "tags": ["radalign", "chest-x-ray", "radiology", facts.method.replace("_", "-")],
    }


def _rows(facts: Facts) -> Iterator[tuple[str, Any]]:
    yield "Method", facts.method
    if facts.source:
        yield "Released by", facts.source
    if facts.imported:
        yield "File", facts.imported.get("file", UNKNOWN)
        yield "Digest of the file (SHA-256)", facts.imported.get("digest", UNKNOWN)
    else:
        yield "Pretrained on", f"{facts.dataset or UNKNOWN}{' (simulated images)' if facts.simulated else ''}"
        yield "Data version", facts.data_version or UNKNOWN
        yield "Settings of the training", facts.preset or UNKNOWN
        yield "Seed", UNKNOWN if facts.seed is None else facts.seed
    yield "Digest of the weights (SHA-256)", f"{facts.weights}{' (before the training)' if facts.untrained else ''}"
    yield "Exported by", f"radalign {version('radalign')}"


def _preparation(preparation: Preparation) -> Iterator[str]:
    yield PREPARE
    yield preparation.film
    mean, std = (", ".join(f"{value:.6g}" for value in values) for values in (preparation.mean, preparation.std))
    yield f"Grey levels are divided by 255. Mean: {mean}; deviation: {std}. All channels hold the same grey."
    yield f"The network's input is {preparation.side} x {preparation.side} pixels."
    if preparation.difference:
        yield f"{preparation.difference}."
    else:
        yield (
            f"The transform of the other tool gives the same pixels for a square of {preparation.square} pixels. "
            "What it resizes from another size differs by its filter."
        )
    if preparation.resize == LONGEST:
        yield "Pad films to squares before the other tool reads them: its transform pads with another grey, or cuts."
    yield "`radalign.load(RUN).read(files)` gives the squares of a network that was trained with Radalign."


def _measured(results: Sequence[Any]) -> str:
    if not results:
        return "Nothing was measured of these weights in the home that they were exported from."
    header = ("dataset", "task", "setting", "metric", "value [95 % interval]", "classes")
    rows = [
        (
            f"{row['cohort']}{' (simulated)' if row['simulated'] else ''}", row["task"], row["setting"], row["metric"],
            format_value([row]), row["n"],
        )
        for row in results
    ]  # fmt: skip
    return f"Means over classes. {markdown_table(header, rows)}".replace(". |", ".\n\n|", 1)


def _exactness(written: Written) -> str:
    lines = [f"- {name}: {value:.1e}" for name, value in written.differences.items()]
    return "\n".join(
        [
            "The folder was opened with the tools above. Differences from Radalign's numbers, relative to the largest:",
            "",
            *lines,
        ]
    )


def _settings(subject: Subject, facts: Facts) -> str:
    own = {name: value for name, value in subject.card.method_config.items() if _is_plain(value)}
    rows = [(name, repr(value)) for name, value in {**facts.settings, **own}.items()]
    return markdown_table(("setting", "value"), rows) if rows else "None."


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not is_place(value)
