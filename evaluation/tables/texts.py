"""The texts of the tables: heads, formatted numbers, and notes on all tables.

Numbers are in percent, as the papers print them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evaluation.leakage.selection import describe_selection
from evaluation.metrics.values import MACRO
from evaluation.results.summary import MeasuredValue
from evaluation.results.text_tables import SIMULATION_NOTE
from evaluation.results.trainings import SIMULATED, name_cohort
from evaluation.tables.comparisons import Pair
from evaluation.tables.matrices import Group
from evaluation.tables.paper_tables import Line, PaperTable
from evaluation.tasks.registry import task_names

NO_TEXT = ""
NO_SHARE = "contrast_to_noise"  # the beginning of the names of metrics without an upper bound
LETTERS = "abcdefghijklmnopqrstuvwxyz"
HEAD = (
    *("method", "printed as", "pretrained on", "data", "task", "setting", "metric", "class"),
    *("measured", "published", "difference"),
)
MEASURED_COLUMN = HEAD.index("measured")  # the first with a number
DIFFERS = "what differs"
TRAPS_HEAD = ("trap", "what we do instead", "test")
READING = (
    "Numbers are in percent, except the contrast to noise. A difference is measured minus published. Published numbers "
    "were measured by others on other data. They never replace measured ones. Brackets hold 95 % intervals by "
    "bootstrap over patients. An interval over a handful of images says little. Several seeds or repeats have mean and "
    "std instead."
)
PAIR_HEAD = (
    "pretrained on",
    "data",
    "task",
    "setting",
    "metric",
    "class",
    "seed",
    "repeat",
    "methods",
    "test",
    "difference",
    "p",
    "p (Holm)",
)
PAIR_NOTE = (
    "Differences are in percent. Means over classes are tested by the paired bootstrap by patient, the AUROC of a "
    "class by DeLong's test by patient. The last column is adjusted by Holm's rule for the pairs of the same "
    "measurement. Each seed and repeat has its own row."
)


@dataclass(frozen=True)
class Picture:
    """A figure of methods against methods. `path` is that of its file, from the folder of the tables."""

    title: str
    png: bytes
    path: str

    @property
    def address(self) -> str:
        """The picture itself, small enough for a page."""
        from evaluation.figures.pictures import data_uri, shrink

        return data_uri(shrink(self.png))


@dataclass(frozen=True)
class TablesDocument:
    """The content of the files."""

    tables: Sequence[PaperTable]
    pairs: Sequence[Pair]
    pretrainings: Mapping[str, bool]  # the cohorts of the pretrainings, the newest first, and which are simulated
    leaks: Sequence[str] = ()  # sentences about test data that was seen before
    groups: Sequence[Group] = ()  # the results of the home by the cohort of the pretraining
    pictures: Mapping[str, Sequence[Picture]] = field(default_factory=dict)  # by the cohort of the pretraining

    @property
    def named_pictures(self) -> dict[str, bytes]:
        """The figures by the cohort of the pretraining and their title, as PNG."""
        named = ((f"{cohort}: {one.title}", one.png) for cohort, found in self.pictures.items() for one in found)
        return dict(named)

    @property
    def simulated(self) -> bool:
        """Whether any number comes from a simulation."""
        lines = (line for table in self.tables for line in table.lines)
        return (
            any(self.pretrainings.values())
            or any(line.simulated for line in lines)
            or any(group.simulated for group in self.groups)
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes on all tables."""
        return (*self.warnings, *self.reading)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader has to know before any number."""
        return (SIMULATION_NOTE,) if self.simulated else ()

    @property
    def reading(self) -> tuple[str, ...]:
        """How the tables of the papers are read."""
        names = " and ".join(map(self.name_pretraining, self.pretrainings)) or "no cohort yet"
        return (f"Measured, in the tables of the papers: networks pretrained on {names}.", READING)

    def name_pretraining(self, cohort: str) -> str:
        """The cohort of a pretraining, and whether it is a simulation."""
        return name_cohort(cohort, self.pretrainings.get(cohort, False))

    def describe_measured(self, table: PaperTable) -> str:
        """A sentence on the pretraining behind all measured numbers of a table; empty where there are several or none.

        Where there are several, a column says which.
        """
        found = find_pretrainings_of(table)
        return f"Measured: networks pretrained on {self.name_pretraining(found[0])}." if len(found) == 1 else NO_TEXT

    @property
    def choices(self) -> list[str]:
        """How the settings of the measured tasks were selected."""
        lines = (line for table in self.tables for line in table.lines)
        return describe_selection(sorted({line.task for line in lines if line.measured} & set(task_names())))


def find_pretrainings_of(table: PaperTable) -> list[str]:
    """The cohorts that the measured networks of a table were pretrained on."""
    return list(dict.fromkeys(line.pretraining for line in table.lines if line.measured and line.pretraining))


def format_line(line: Line, document: TablesDocument) -> tuple[str, ...]:
    """The texts under HEAD."""
    names = (
        line.method,
        line.printed,
        document.name_pretraining(line.pretraining) if line.pretraining else NO_TEXT,
        format_cohort(line.cohort, line.simulated),
        line.task,
        line.setting,
        line.metric,
        line.class_name,
    )
    return (
        *names,
        format_measured(line.measured, line.metric),
        format_published(line),
        format_number(line.difference, line.metric, "+"),
    )


def format_cohort(cohort: str, simulated: bool) -> str:
    """The name of the cohort, and whether it is simulated."""
    return f"{cohort}, {SIMULATED}" if simulated else cohort


def choose_columns(table: PaperTable) -> list[int]:
    """The columns of HEAD to show: no task where all lines have the same, no class where all are means, and so on."""
    several_tasks = len({line.task for line in table.lines}) > 1
    of_classes = any(line.class_name != MACRO for line in table.lines)
    hidden = {
        *(() if several_tasks else ("task",)),
        *(() if of_classes else ("class",)),
        *(() if any(line.printed for line in table.lines) else ("printed as",)),
        *(() if len(find_pretrainings_of(table)) > 1 else ("pretrained on",)),
        *(() if any(line.published is not None for line in table.lines) else ("published", "difference")),
    }
    return [place for place, name in enumerate(HEAD) if name not in hidden]


def format_letters(places: Sequence[int]) -> str:
    """The letters of a table's remarks: a, b, ..., z, aa, ab, ..."""
    return ", ".join((LETTERS[place // 26 - 1] if place >= 26 else NO_TEXT) + LETTERS[place % 26] for place in places)


def format_measured(measured: MeasuredValue | None, metric: str) -> str:
    """Value and interval, or mean and std of several seeds and repeats, or why the value is missing."""
    if measured is None:
        return NO_TEXT
    if measured.value is None:
        return measured.state
    value = format_number(measured.value, metric)
    if measured.std is not None:
        return f"{value} ± {format_number(measured.std, metric)} ({measured.repeated}){measured.outdated_mark}"
    if measured.low is None:
        return value + measured.outdated_mark
    interval = f"[{format_number(measured.low, metric)}, {format_number(measured.high, metric)}]"
    return f"{value} {interval}{measured.outdated_mark}"


def format_published(line: Line) -> str:
    """The published number, with the std of its runs where it is their mean."""
    std = f" ± {format_number(line.std, line.metric)}" if line.std is not None else NO_TEXT
    return format_number(line.published, line.metric) + std


def format_number(value: float | None, metric: str, sign: str = "") -> str:
    """In percent with one decimal, as the papers print; metrics without an upper bound with two decimals."""
    if value is None:
        return NO_TEXT
    return f"{value:{sign}z.2f}" if metric.startswith(NO_SHARE) else f"{100 * value:{sign}z.1f}"


def format_pair(pair: Pair, document: TablesDocument) -> tuple[str, ...]:
    """The texts under PAIR_HEAD."""
    found = pair.comparison
    difference, low, high = (
        format_number(value, pair.metric, "+") for value in (found.difference, found.low, found.high)
    )
    whose = (document.name_pretraining(pair.pretraining), format_cohort(pair.cohort, pair.simulated))
    names = (*whose, pair.task, pair.setting, pair.metric, pair.class_name)
    methods = f"{pair.first} - {pair.second}"
    return (
        *names,
        str(pair.seed),
        str(pair.repeat),
        methods,
        pair.test,
        f"{difference} [{low}, {high}]",
        f"{found.p:.3f}",
        f"{pair.adjusted_p:.3f}",
    )
