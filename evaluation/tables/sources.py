"""Where every measured number is from: the run, the data that it was pretrained and measured on, and the files.

There is a source for each method, pretraining cohort and dataset; every number of the page links to its own. Paths in
the home are relative to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from urllib.parse import quote

from evaluation.results.files import measurement_path, read_computed_on
from evaluation.results.summary import UNTRAINED, Row, is_simulated
from evaluation.results.trainings import Pretraining, Training, find_archive, is_simulation, name_cohort
from evaluation.tables.measured_rows import make_key, sort_key
from evaluation.tables.paper_tables import Line
from ingestion.versions import versions_folder
from ingestion.workspace import REMOTE, Workspace
from shards.errors import ShardError
from shards.pool import load_manifest
from store.remote import mirror

MINUS = " - "  # in the name of a difference of two methods
Key = tuple[str, str, str]  # pretraining, method, dataset


@dataclass(frozen=True)
class Place:
    """A file or folder: what to call it, and its address as the page sees it; empty where a browser cannot open it."""

    text: str
    link: str = ""


@dataclass(frozen=True)
class DataSource:
    """A dataset in the version that a number is of."""

    name: str  # with a mark where it is a simulation
    version: str
    archive: Place
    shards: Place
    studies: Place


@dataclass(frozen=True)
class RunSource:
    """A training."""

    training: Training
    folder: Place
    data: DataSource
    page: str  # in MLflow; may be empty

    @property
    def settings(self) -> str:
        """The preset, and which settings differ from it."""
        changed = f": {', '.join(self.training.changed)}" if self.training.changed else ""
        return self.training.preset_text + changed


@dataclass(frozen=True)
class FileSource:
    """A file of results."""

    task: str
    what: str  # setting, and which network, seed and repeat where it is not the usual one
    place: Place
    computed_on: str = ""  # device and precision; empty where the file does not say


@dataclass(frozen=True)
class Source:
    """Where the numbers of a method on a dataset are from."""

    anchor: str
    pretraining: str  # with a mark where it is a simulation
    method: str
    runs: tuple[RunSource, ...]  # none for a network that was not pretrained
    checkpoints: tuple[str, ...]  # of those
    data: tuple[DataSource, ...]
    files: tuple[FileSource, ...]

    @property
    def computed_on(self) -> str:
        """Devices and precisions of all files."""
        return "; ".join(dict.fromkeys(file.computed_on for file in self.files if file.computed_on))


class Sources:
    """All sources of a page, by the cohort of the pretraining."""

    def __init__(self, found: Mapping[Key, Source] | None = None) -> None:
        self._found = dict(found or {})

    def __iter__(self) -> Iterator[Source]:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)

    def groups(self) -> dict[str, list[Source]]:
        """Those of each pretraining cohort, in the order of the page."""
        groups: dict[str, list[Source]] = {}
        for source in self._found.values():
            groups.setdefault(source.pretraining, []).append(source)
        return groups

    def archive(self, pretraining: str) -> Place:
        """Where the archive of a pretraining cohort is."""
        own = (source for (cohort, *_), source in self._found.items() if cohort == pretraining)
        return next((run.data.archive for source in own for run in source.runs), Place(""))

    def link(self, pretraining: str, method: str, cohort: str) -> str:
        """The address of a source in the page; empty where there is none."""
        found = self._found.get((pretraining, method.removeprefix(UNTRAINED), cohort))
        return f"#{found.anchor}" if found else ""

    def links(self, line: Line) -> list[str]:
        """The addresses of what a measured number is from: of two methods where it is a difference."""
        methods = line.method.split(MINUS) if line.measured else []
        return [link for method in methods if (link := self.link(line.pretraining, method, line.cohort))]


def find_sources(
    found: Sequence[tuple[Pretraining, Iterable[Row]]], page: Path, addresses: Mapping[str, str]
) -> Sources:
    """The sources of the measured rows of every pretraining.

    `page` is the folder of the page, from which relative addresses count. `addresses` are those of runs in MLflow.
    """
    sources: dict[Key, Source] = {}
    for pretraining, rows in found:
        own: dict[Key, list[Row]] = {}
        for row in rows:
            method = row["method"].removeprefix(UNTRAINED)
            own.setdefault((pretraining.cohort, method, row["cohort"]), []).append(row)
        for key in sorted(own, key=lambda key: (":" in key[1], key)):
            finder = _Finder(pretraining, page, addresses)
            sources[key] = finder.describe(f"from-{len(sources) + 1}", key, own[key])
    return Sources(sources)


class _Finder:
    """Describes the sources of one pretraining."""

    def __init__(self, pretraining: Pretraining, page: Path, addresses: Mapping[str, str]) -> None:
        self.pretraining, self.page, self.addresses = pretraining, page, addresses
        self.home = pretraining.workspace.home_path()

    def describe(self, anchor: str, key: Key, rows: Sequence[Row]) -> Source:
        _, method, cohort = key
        checkpoints = {row["checkpoint"] for row in rows}
        runs = tuple(
            self._describe_run(training)
            for training in self.pretraining.trainings
            if training.run.name == method
            and {training.run.checkpoint_digest, training.run.untrained_digest} & checkpoints
        )
        there = Workspace(home=self.pretraining.workspace.home, cohort=cohort)
        simulated = any(map(is_simulated, rows)) or is_simulation(there)
        versions = dict.fromkeys(row["data_version"] for row in rows)
        return Source(
            anchor,
            self.pretraining.title,
            method,
            runs,
            () if runs else tuple(sorted(checkpoints)),
            tuple(self._describe_data(there, version, simulated) for version in versions),
            self._list_files(rows),
        )

    def _describe_run(self, training: Training) -> RunSource:
        run = training.run
        data = self._describe_data(self.pretraining.workspace, run.data_version, self.pretraining.simulated)
        return RunSource(training, self._place(training.folder), data, self.addresses.get(run.mlflow_run, ""))

    def _describe_data(self, place: Workspace, version: str, simulated: bool) -> DataSource:
        tables = _find_tables(place, version)
        shards, studies = tables / "shards", tables / "studies" / "studies.parquet"
        archive = find_archive(place)
        return DataSource(
            name_cohort(place.cohort_name(), simulated),
            version,
            Place(archive) if REMOTE in archive or not archive else self._place(Path(archive)),
            self._place(shards) if shards.exists() else Place(""),
            self._place(studies) if studies.exists() else Place(""),
        )

    def _list_files(self, rows: Sequence[Row]) -> tuple[FileSource, ...]:
        files: dict[Path, Row] = {}
        for row in rows:
            files.setdefault(measurement_path(self.home, row), row)
        ordered = sorted(files.items(), key=lambda file: (file[1]["task"], sort_key(make_key(file[1])), file[0]))
        return tuple(
            FileSource(row["task"], _say_what(row), self._place(path), read_computed_on(path)) for path, row in ordered
        )

    def _place(self, path: Path) -> Place:
        """Relative in the home, so that the page stays right where the home is moved or copied."""
        if path.is_relative_to(self.home):
            link = quote(Path(os.path.relpath(path, self.page)).as_posix())
            return Place(path.relative_to(self.home).as_posix(), link)
        return Place(str(path), path.absolute().as_uri())


def _find_tables(place: Workspace, version: str) -> Path:
    """The folder with the tables of a data version: the present ones, or else those that were kept."""
    present = place.home_path() / place.cohort_name()
    try:
        same = load_manifest(present / "shards").digest == version
    except ShardError:
        same = False
    mirror.bring_below(versions_folder(place))
    kept = [] if same or not version else sorted(versions_folder(place).glob(f"{escape(version[:12])}-*"))
    return kept[0] if kept else present


def _say_what(row: Row) -> str:
    network = ["untrained"] if row["method"].startswith(UNTRAINED) else []
    counted = [f"{name} {row[name]}" for name in ("seed", "repeat") if row[name]]
    return " ".join([row["setting"], *network, *counted])
