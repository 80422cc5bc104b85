"""Reads `archive.yaml` into a `Description`. A mistake in it is one sentence with the line and the key.

Every value is taken as text, so that `ja`, `no` and `1` are what they look like; tags and objects have no meaning.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from cohorts.archive.folders import is_file
from cohorts.archive.outages import ABSENT, DENIED, outage
from cohorts.archive.remote import as_root, open_file
from cohorts.described.description import (
    HEADINGS,
    KEEP,
    NO_PATIENTS,
    SHIFT,
    BoxSource,
    Description,
    LabelSource,
    ReportSource,
)
from cohorts.errors import CohortError
from store.atomic import write_text
from store.digests import fingerprint
from store.errors import did_you_mean

FILE = "archive.yaml"
SUFFIXES = (".yaml", ".yml")
MOST_BYTES = 1 << 18  # a usual description has a thousand
SHARES = re.compile(r"\d{1,9}(\.\d{1,9})?(/\d{1,9}(\.\d{1,9})?){2}")
REMOTE = "://"  # in an address on object storage
NOTHING = ("", "~", "null")
TRUTH = {"true": True, "false": False}
LABEL_KEYS = {item.name for item in fields(LabelSource)} - {"columns"}
REPORT_KINDS = ("text", "file", "sections", "folder", "sr")


def description_path(root: Path) -> Path | None:
    """The description that a configured root names: the root itself, or the file in it; None where there is none."""
    if root.suffix.lower() in SUFFIXES:
        return root
    inside = root / FILE
    return inside if is_file(inside) else None


def files_root(root: Path) -> Path:
    """The folder of the files that a configured root describes; a folder without a description is itself."""
    path = description_path(root)
    if path is None or (path == root and not is_file(root)):
        return root
    named = read_description(path).root
    if REMOTE in named:
        return as_root(named)
    return path.parent / named if named else path.parent


def read_description(path: Path) -> Description:
    """The description in a file.

    Raises:
        CohortError: the file cannot be read, or says something that no description says.
    """
    return parse_description(_read_text(path), str(path))


def keep_description(text: str, folder: Path) -> Path:
    """Write a description that was given as text into `folder`, under the digest of its content.

    Raises:
        CohortError: it says something that no description says, or its root is no absolute path.
    """
    described = parse_description(text, "description")
    if not Path(described.root).is_absolute() and REMOTE not in described.root:
        raise CohortError(
            "description has no absolute folder as its `root`, and no file whose folder could take its place."
        )
    path = folder / f"{fingerprint(text)[:16]}{SUFFIXES[0]}"
    if not path.exists():
        write_text(path, text)
    return path


def parse_description(text: str, name: str = FILE) -> Description:
    """The description that a text is; `name` is what errors call it. CohortError as `read_description`."""
    if len(text) > MOST_BYTES:
        raise CohortError(f"{name} has more than {MOST_BYTES} characters, as no description has.")
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        raise CohortError(f"{name} is no YAML{place} ({getattr(error, 'problem', None) or 'it is no text'}).") from None
    except RecursionError:
        raise CohortError(f"{name} has lists or mappings in each other beyond all measure.") from None
    if node is None:
        raise CohortError(f"{name} is empty; the guide `Bring your archive` shows what stands in it.")
    description = _Builder(name).build(Description, node, "")
    _check(description, name)
    return description


class _Builder:
    """Builds dataclasses from the nodes of a YAML document."""

    def __init__(self, name: str) -> None:
        self.name = name

    def build(self, kind: type, node: yaml.Node, key: str) -> Any:
        """An object of the dataclass `kind`."""
        types, given = get_type_hints(kind), self.entries(node, key)
        if kind is LabelSource and not (given and set(given) <= LABEL_KEYS):
            return LabelSource(columns={name: self.text(item, f"{key}: {name}") for name, item in given.items()})
        known = [item.name for item in fields(kind)]
        for name, item in given.items():
            if name not in known:
                inside = f" in `{key}`" if key else ""
                raise self.error(
                    item,
                    f"has the key `{name}`{inside}, which is none of {', '.join(known)}{did_you_mean(name, known)}",
                )
        return kind(
            **{name: self.value(types[name], item, f"{key}: {name}" if key else name) for name, item in given.items()}
        )

    def value(self, kind: Any, node: yaml.Node, key: str) -> Any:
        """The value of a field of the type `kind`."""
        if is_dataclass(kind):
            return self.build(kind, node, key)  # type: ignore[arg-type]
        if kind is bool:
            if (text := self.text(node, key).lower()) not in TRUTH:
                raise self.error(node, f"says {key}: {text!r}, which is neither true nor false")
            return TRUTH[text]
        if kind == dict[str, str]:
            return {name: self.text(item, f"{key}: {name}") for name, item in self.entries(node, key).items()}
        if kind == dict[str, dict[str, str]]:
            return {
                name: self.value(dict[str, str], item, f"{key}: {name}")
                for name, item in self.entries(node, key).items()
            }
        if kind is not str and isinstance(node, yaml.SequenceNode):
            return [self.text(item, key) for item in node.value]
        if kind is not str and isinstance(node, yaml.MappingNode):
            return self.value(dict[str, str], node, key)
        return self.text(node, key)

    def entries(self, node: yaml.Node, key: str) -> dict[str, yaml.Node]:
        """The entries of a mapping, of which no key is there twice."""
        if isinstance(node, yaml.ScalarNode) and node.value in NOTHING:
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, f"needs keys with values {f'below `{key}`' if key else 'and has none'}")
        found: dict[str, yaml.Node] = {}
        for name, item in node.value:
            text = self.text(name, key)
            if text in found:
                raise self.error(name, f"has the key `{text}` twice")
            found[text] = item
        return found

    def text(self, node: yaml.Node, key: str) -> str:
        """A single value."""
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(node, f"needs a single value at `{key}`, and has a list or keys there")
        return "" if node.style is None and node.value in NOTHING else str(node.value)

    def error(self, node: yaml.Node, problem: str) -> CohortError:
        """What to raise for a node."""
        return CohortError(f"{self.name}, line {node.start_mark.line + 1}, {problem}.")


def _check(description: Description, name: str) -> None:
    """CohortError where a description lacks a key, or says two things at once."""
    columns, report = description.columns, description.report
    if description.manifest and not columns.images():
        raise CohortError(
            f"{name} names a manifest, but no column with the paths of the images: say `columns: {{image: ...}}`."
        )
    if description.manifest and not columns.patient:
        raise CohortError(
            f"{name} names no column of the patient, who must not be in two splits: say `columns: {{patient: ...}}`, "
            f"or `patient: {NO_PATIENTS}` if every study is of another patient."
        )
    if not SHARES.fullmatch(description.split) or not any(map(float, description.split.split("/"))):
        raise CohortError(
            f"{name} says `split: {description.split}`; give the shares of the patients for train, validate and test, "
            "such as 70/10/20."
        )
    if description.dates not in (SHIFT, KEEP):
        raise CohortError(f"{name} says `dates: {description.dates}`; choose {SHIFT} or {KEEP}.")
    if description.date_format and not _tells_year(description.date_format):
        raise CohortError(f"{name} says `date_format: {description.date_format}`, which has no year; say '%d/%m/%Y'.")
    _check_report(report, name)
    _check_values(description, name)
    _check_boxes(description.boxes, name)


def _tells_year(date_format: str) -> bool:
    """Whether a date that is written in a format has its year when it is read again."""
    moment = datetime(2001, 12, 31, tzinfo=UTC)
    try:
        return datetime.strptime(moment.strftime(date_format), date_format).year == moment.year
    except ValueError:
        return False


def _check_report(report: ReportSource, name: str) -> None:
    kinds = [kind for kind in REPORT_KINDS if getattr(report, kind)]
    if len(kinds) > 1:
        raise CohortError(f"{name} says `report:` in several ways, {' and '.join(kinds)}; choose one.")
    if report.table and not (report.key and kinds and kinds[0] in ("text", "file", "sections")):
        raise CohortError(f"{name} has a table of reports, which needs `key` and one of text, file, sections.")
    if report.folder and not report.key:
        raise CohortError(f"{name} has a folder of reports, which needs `key`: what the files are named by.")
    if report.key and not kinds:
        raise CohortError(f"{name} says `report: {{key: {report.key}}}`, but not where the reports are.")
    if unknown := next((section for section in report.sections if section not in HEADINGS), None):
        problem = f"{name} names the section {unknown}, which is none of {', '.join(HEADINGS)}"
        raise CohortError(f"{problem}{did_you_mean(unknown, HEADINGS)}.")


def _check_values(description: Description, name: str) -> None:
    labels = description.labels
    if bool(labels.column) != bool(labels.values):
        raise CohortError(f"{name} says labels by words, which needs both `column` and `values`.")


def _check_boxes(boxes: BoxSource, name: str) -> None:
    needed = ("label", "x", "y", "width", "height", *(("image",) if boxes.table else ()))
    if boxes != BoxSource() and (absent := [key for key in needed if not getattr(boxes, key)]):
        raise CohortError(f"{name} describes boxes without {', '.join(absent)}.")


def _read_text(path: Path) -> str:
    try:
        with open_file(path, MOST_BYTES + 1) as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        if error.errno is not None and error.errno not in ABSENT | DENIED:
            raise outage(path, error) from error
        raise CohortError(f"{path} cannot be read ({error.strerror or error}).") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CohortError(f"{path} is no text in UTF-8; save it as UTF-8.") from None
