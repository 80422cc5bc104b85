"""The model card of an audited run, in Markdown and HTML: data, training, numbers, gaps, what was not measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from evaluation.audit.audit import Audit
from evaluation.audit.measures.calibration import NO_SCALING, NOT_IN_TEST, TEMPERATURE
from evaluation.audit.pages.environment import render
from evaluation.audit.rows import GAPS, DatasetAudit, Interval, Tested
from evaluation.audit.settings import YOUDEN
from evaluation.results.markdown import escape_markdown, markdown_table

WARNING = "Not a medical device. For research; not for diagnosis, treatment or any other clinical use."
SIMULATED = (
    "Datasets marked as simulated hold images that were drawn by a program. Numbers on them say nothing of patients."
)
USE = (
    "Zero-shot scores order images by how well they fit a finding. Use them for research on images like those of the "
    "datasets below, after an audit on your own images."
)
NOTHING_TESTED = "No gap and no shortcut could be tested: see what was not measured."
NO_SHIFT = "No network of this home has zero-shot results yet: evaluate first."
REVERSED = (
    "A negative temperature says that on validate images with the finding score lower than those without: the network "
    "has not learned it, or the split has too few of them."
)
NO_CALIBRATION = "It was not measured: see what was not measured."
UNKNOWN = "not known"
TOO_FEW = "too few patients on one side"
NOTHING_FOUND = "None is called found after the correction. That is no proof that there is none: see the intervals."
ALWAYS_UNMEASURED = (
    "Whether reports, and labels made from them, are right. Groups that no archive names, such as ethnicity or weight. "
    "Other hospitals, devices and findings than those above. What happens when people read images with the scores."
)


@dataclass(frozen=True)
class Table:
    """A table with its head."""

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Section:
    """A section of the card: a title, then paragraphs, a list, tables."""

    title: str
    paragraphs: Sequence[str] = ()
    items: Sequence[str] = ()
    tables: Sequence[Table] = field(default_factory=list)


def card_as_markdown(audit: Audit) -> str:
    """The card as Markdown; names of an archive are text in it and nothing else."""
    parts = [f"# Model card: {escape_markdown(audit.name)}, pretrained on {escape_markdown(audit.cohort)}"]
    parts.append(f"**{WARNING}**")
    for section in list_sections(audit):
        parts.append(f"## {escape_markdown(section.title)}")
        parts += map(escape_markdown, section.paragraphs)
        if section.items:
            parts.append("\n".join(f"- {escape_markdown(item)}" for item in section.items))
        parts += [markdown_table(table.head, table.rows) for table in section.tables if table.rows]
    return "\n\n".join(parts) + "\n"


def card_as_html(audit: Audit) -> str:
    """The card as a page that loads no other file."""
    return render("card.html", audit=audit, warning=WARNING, sections=list(list_sections(audit)))


def list_sections(audit: Audit) -> Iterator[Section]:
    """The sections of the card."""
    yield Section("What it is", [USE, SIMULATED] if audit.simulated else [USE], tables=[_describe_training(audit)])
    yield _describe_data(audit)
    yield _describe_scores(audit)
    yield _describe_shift(audit)
    yield _describe_calibration(audit)
    found = [(one.dataset, test) for one in audit.datasets for test in audit.found(one)]
    family = describe_family(audit)
    for title, are_gaps in (("Gaps between groups", True), ("Shortcuts", False)):
        chosen = [one for one in found if (one[1].kind in GAPS) == are_gaps]
        yield _describe_tests(title, family, chosen, describe_nothing(audit))
    yield _describe_unmeasured(audit)


def describe_nothing(audit: Audit) -> str:
    """What stands where nothing is found."""
    return NOTHING_FOUND if audit.tested else NOTHING_TESTED


def describe_family(audit: Audit) -> str:
    """How many tests there are, and when one is called found; empty where there is none."""
    if not audit.tested:
        return ""
    where = ", ".join(one.dataset for one in audit.datasets if any(test.p is not None for test in one.tests))
    return (
        f"Gaps and shortcuts tested: {audit.tested}, on {where}. p is corrected for all of them by Holm's rule; found "
        f"means a corrected p below {audit.settings.level:g}. Intervals are 95 %, by patient, and not corrected."
    )


def describe_point(point: str) -> str:
    """An operating point in words."""
    return f"{point} (best sum of sensitivity and specificity)" if point == YOUDEN else f"of a sensitivity of {point}"


def format_interval(found: Interval, digits: int = 3) -> str:
    """A number with its interval; a dash where there is none."""
    if found.value is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _describe_training(audit: Audit) -> Table:
    training, run = audit.training, audit.training.run
    rows = [
        ("method", run.name),
        ("seed", run.seed),
        ("pretrained on", audit.cohort),
        ("data version", run.data_version or UNKNOWN),
        ("settings", training.preset_text or UNKNOWN),
        ("changed settings", ", ".join(training.changed) or "none"),
        ("digest of the settings, data and code", run.fingerprint),
        ("digest of the weights (SHA-256)", run.checkpoint_digest),
        ("finished", training.date or UNKNOWN),
        ("audited", f"{audit.date}, radalign {version('radalign')}"),
    ]
    return Table(("", ""), rows)


def _describe_data(audit: Audit) -> Section:
    head = ("dataset", "licence", "data version", "images (train, validate, test)", "patients", "dates")
    rows = [
        (
            name_dataset(one),
            find_licence(one.dataset),
            one.data_version[:12],
            ", ".join(f"{count:,}" for count in one.images.values()),
            ", ".join(f"{count:,}" for count in one.patients.values()),
            " to ".join(filter(None, one.dates)) or UNKNOWN,
        )
        for one in audit.datasets
    ]
    about = "Dates are as the archive has them, shifted where the archive shifts them."
    return Section("Data", [about], tables=[Table(head, rows)])


def _describe_scores(audit: Audit) -> Section:
    point = audit.settings.operating_point
    head = ("dataset", "finding", "images", "with it", "sensitivity", "specificity", "PPV", "NPV")
    rows = [
        (
            name_dataset(one), row.finding, row.images, row.positives,
            *(format_interval(row.rates.get(name, Interval(None))) for name in head[4:]),
        )
        for one in audit.datasets
        for row in one.operating_points
        if row.point == point
    ]  # fmt: skip
    about = (
        f"On test, at the operating point {describe_point(point)}, chosen on validate; intervals are 95 %, by patient."
    )
    return Section("Numbers", [about], tables=[Table(head, rows)])


def _describe_shift(audit: Audit) -> Section:
    columns = [f"{name} (simulated)" if name in audit.shift.simulated else name for name in audit.shift.columns]
    matrix = Table(("trained on", "method", *columns), list(_shift_rows(audit)))
    about = "AUROC, mean over findings, of the networks of the home (lines) on each dataset (columns)."
    return Section("Shift between datasets", [about if matrix.rows else NO_SHIFT], tables=[matrix])


def _shift_rows(audit: Audit) -> Iterator[Sequence[str]]:
    for (cohort, method), line in audit.shift.lines.items():
        numbers = (line.get(column) for column in audit.shift.columns)
        cells = ("" if one is None or one.value is None else f"{one.value:.3f}" for one in numbers)
        yield cohort, method, *cells


def _describe_calibration(audit: Audit) -> Section:
    head = ("dataset", "finding", "ECE", "Brier", "temperature", "ECE after", "Brier after")
    rows = []
    for one in audit.datasets:
        found = {(row.finding, row.scaling): row for row in one.calibration}
        for (finding, scaling), row in found.items():
            if scaling == NO_SCALING and not row.reason:
                after = found.get((finding, TEMPERATURE))
                has = after is not None and not after.reason and after.slope
                cells = (
                    (f"{1 / after.slope:.3g}", after.error, after.brier)
                    if after and has
                    else ("-", *[Interval(None)] * 2)
                )
                texts = [cells[0], *(format_interval(cell) for cell in cells[1:] if isinstance(cell, Interval))]
                rows.append(
                    (name_dataset(one), finding, format_interval(row.error), format_interval(row.brier), *texts)
                )
    bins = f"{audit.settings.bins} bins of equal {'mass' if audit.settings.equal_mass else 'width'}"
    about = (
        f"On test: expected calibration error ({bins}) and Brier score, as they are and with a temperature of validate."
    )
    if not rows:
        return Section("Calibration", [NO_CALIBRATION])
    reversed_ones = any(
        row.slope < 0 for one in audit.datasets for row in one.calibration if row.scaling == TEMPERATURE
    )
    return Section("Calibration", [about, REVERSED] if reversed_ones else [about], tables=[Table(head, rows)])


def _describe_tests(title: str, family: str, found: Sequence[tuple[str, Tested]], nothing: str) -> Section:
    if not found:
        return Section(title, [*filter(None, [family]), nothing])
    head = ("dataset", "what", "finding", "by", "group", "against", "value", "reference", "difference", "corrected p")
    rows = [
        (
            dataset, test.kind, test.finding, test.fact, test.group, test.against, _number(test.value),
            _number(test.reference), format_interval(Interval(test.difference, test.low, test.high)),
            format_p(test.adjusted),
        )
        for dataset, test in found
    ]  # fmt: skip
    return Section(title, [family], tables=[Table(head, rows)])


def _describe_unmeasured(audit: Audit) -> Section:
    items = [*audit.left_out]
    for one in audit.datasets:
        items += [f"{one.dataset}: {sentence}" for sentence in (*one.unmeasured, *summarise_unmeasured(one))]
    return Section("What was not measured", items=[*items, ALWAYS_UNMEASURED])


def summarise_unmeasured(audit: DatasetAudit) -> Iterator[str]:
    """What was left out and why, as sentences: numbers of findings, and the tests of each fact or cue."""
    missing: dict[str, list[str]] = {}
    for row in audit.operating_points:
        if row.reason:
            missing.setdefault(row.reason, []).append(row.finding)
    for why, names in missing.items():
        what = "calibration and operating points" if why == NOT_IN_TEST else "scalings and operating points"
        yield f"{what} of {', '.join(sorted(set(names)))} were not measured: {why}."
    found: dict[tuple[str, str, str], list[str]] = {}
    for test in audit.tests:
        if test.reason:
            why = TOO_FEW if "fewer than" in test.reason else test.reason
            found.setdefault(("gaps" if test.kind in GAPS else "shortcuts", test.fact, why), []).append(test.finding)
    for (what, fact, why), findings in found.items():
        yield f"{what} by {fact}, {len(findings)} not measured: {why} ({', '.join(sorted(set(findings)))})."


def name_dataset(audit: DatasetAudit) -> str:
    """The name of a dataset, and whether it is simulated."""
    return f"{audit.dataset} (simulated)" if audit.simulated else audit.dataset


def find_licence(dataset: str) -> str:
    """The licence of a dataset, where its reader says it."""
    from cohorts.registry import cohort_names
    from cohorts.registry import dataset as facts_of

    return (facts_of(dataset).licence if dataset in cohort_names() else "") or UNKNOWN


def format_p(p: float | None) -> str:
    """A corrected p."""
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
