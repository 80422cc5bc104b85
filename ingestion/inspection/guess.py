"""Guesses the description of an export from a table: which of its columns hold what, by their names and contents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cohorts.archive.paths import stays_inside
from cohorts.described.description import (
    HEADINGS,
    NO_PATIENTS,
    BoxSource,
    Columns,
    Description,
    LabelSource,
    ReportSource,
)
from cohorts.described.words import SEXES, SPLITS, says_nothing
from cohorts.views import FRONTAL, LATERAL, UNKNOWN, kind_of_view
from ingestion.inspection import lexicon
from ingestion.inspection.columns import FEW, IMAGE_SUFFIXES, TEXT_SUFFIXES, Column

if TYPE_CHECKING:
    from ingestion.inspection.listing import Listing
    from ingestion.inspection.sheets import Sheet

MOST_CHECKED = 200  # paths of a column that are looked for
MOST_SEARCHED = 20  # paths of a column that are searched in all folders
MOST_SHOWN = 8  # names in a note
MOST_OF = 0.8  # of the values, that have to be what a role needs
IDENTIFIERS = ("patient", "study")
WORDS = {"sex": SEXES, "split": SPLITS}
SIDES = ("x", "y", "width", "height")
DAY_FIRST = "%d/%m/%Y"


@dataclass(frozen=True)
class Guess:
    """A description of an export, and what is doubtful about it."""

    description: Description
    notes: dict[str, list[str]] = field(default_factory=dict)  # key of the description -> sentences
    rows: int = 0  # of the table, that were looked at


def guess_manifest(sheet: Sheet, others: Sequence[Sheet], listing: Listing) -> Guess | None:
    """The description of the table of images `sheet`, or None where no column of it holds paths of images.

    Reports may stand in one of the `others`, which has a column with the same values as one of the manifest.
    """
    return _Guesser(sheet, others, listing).guess()


class _Guesser:
    """Gives each column one role, the surest first, and notes what is doubtful."""

    def __init__(self, sheet: Sheet, others: Sequence[Sheet], listing: Listing) -> None:
        self.sheet, self.others, self.listing = sheet, others, listing
        self.free = {column.name: column for column in sheet.columns}
        self.notes: dict[str, list[str]] = {}
        self.values: dict[str, dict[str, str]] = {}
        self.folder = ""  # that the paths of images count from

    def guess(self) -> Guess | None:
        """The guess; None where no column holds paths of images that are there."""
        images = self._images()
        if not images:
            return None
        facts = self._facts()
        report = self._report()
        boxes = self._boxes()
        labels = self._labels()
        if "patient" not in facts:
            facts["patient"] = NO_PATIENTS
            self._note(
                "columns", "No column names the patient: name it, or every study counts as a patient of its own."
            )
        if "view" not in facts and not isinstance(images, dict):
            self._note("columns", "No column says the view: every image counts as frontal.")
        if report == ReportSource():
            report = self._joined_report(facts.get("study", ""))
        description = Description(
            manifest=self.sheet.path,
            images=self.folder,
            sheet=self.sheet.name,
            columns=Columns(image=images, **facts),
            report=report,
            labels=labels,
            boxes=boxes,
            values=self.values,
            date_format=self._date_format(facts.get("date", "")),
        )
        return Guess(description, self.notes, self.sheet.rows)

    def _images(self) -> str | list[str] | dict[str, str]:
        """The columns with paths of images that are there."""
        named = [column for column in self.free.values() if column.paths]
        self.folder = self._folder_of(named)
        found = [column for column in named if self.listing_has(column.paths, self.folder)]
        masks = [column for column in found if lexicon.is_never(column.name, "image")]
        found = [column for column in found if column not in masks]
        for column in [*named, *masks]:
            self.free.pop(column.name, None)
        if masks:
            self._note("columns", f"{_names(masks)} names masks, which are not read.")
        if not found:
            return ""
        same = [column for column in found if column.paths != found[0].paths]
        if len(same) + 1 < len(found):  # one column repeats another
            found = [found[0], *same]
        if len(found) == 1:
            return found[0].name
        views = {kind_of_view(" ".join(lexicon.words_of(column.name))): column.name for column in found}
        if UNKNOWN in views and LATERAL in views and len(views) == len(found) == 2:
            self._note("columns", f"{views[UNKNOWN]!r} is taken for the frontal view beside the lateral one.")
            views = {FRONTAL: views[UNKNOWN], LATERAL: views[LATERAL]}
        if UNKNOWN in views or len(views) < len(found):
            return [column.name for column in found]
        return {kind.upper(): name for kind, name in views.items()}

    def _folder_of(self, named: Sequence[Column]) -> str:
        """The folder that the paths of images count from, where that is not the root."""
        if any(self.listing_has(column.paths) for column in named):
            return ""
        places = Counter(
            folder
            for column in named
            if not lexicon.is_never(column.name, "image")
            for path in _spread(column.paths)[:MOST_SEARCHED]
            for folder in self.listing.folders_with(path)
        )
        return places.most_common(1)[0][0] if places else ""

    def listing_has(self, paths: Sequence[str], folder: str = "") -> bool:
        """Whether at least one of some paths, from a folder, is a file below the root."""
        prefix = f"{folder}/" if folder else ""
        return self.listing.share_there([prefix + path for path in _spread(paths)]) > 0

    def _facts(self) -> dict[str, str]:
        """Role -> column of what is said of the patient and the study."""
        fitting: dict[str, Callable[[Column], float]] = {
            "patient": lambda column: float(column.may_be_identifier),
            "study": lambda column: float(column.may_be_identifier),
            "date": lambda column: column.dates,
            "view": lambda column: column.views,
            "sex": lambda column: column.sexes,
            "age": lambda column: column.ages,
            "device": lambda column: float(column.may_be_identifier),
            "site": lambda column: float(column.may_be_identifier),
            "laterality": lambda column: column.sides,
            "split": lambda column: column.splits,
        }
        candidates = sorted(
            (
                (-lexicon.fit(column.name, role), -share, list(self.free).index(column.name), role, column.name)
                for column in self.free.values()
                for role, is_right in fitting.items()
                if lexicon.fit(column.name, role) and (share := is_right(column)) >= MOST_OF
            )
        )
        facts: dict[str, str] = {}
        fits: dict[str, int] = {}
        for fit, *_, role, name in candidates:
            if role not in facts and name in self.free:
                facts[role], fits[role] = self.free.pop(name).name, fit
        for fit, *_, role, name in candidates:
            if name in self.free and fit == fits[role]:
                self._note("columns", f"{name!r} may be the {role} as well as {facts[role]!r}.")
        for column in self.free.values():
            for role, is_right in fitting.items():
                if role not in facts and column.values and lexicon.fit(column.name, role) == lexicon.WHOLE:
                    right = f"{is_right(column):.0%}"
                    self._note("columns", f"{column.name!r} is called the {role}, but {right} of its values are one.")
        facts |= self._facts_by_content(facts)
        for role in ("sex", "view", "split"):
            if role in facts:
                self._explain_words(role, facts[role])
        return dict(sorted(facts.items()))

    def _facts_by_content(self, known: Mapping[str, str]) -> dict[str, str]:
        """Roles whose values no other role has, of columns with names that say nothing."""
        tests: dict[str, Callable[[Column], bool]] = {
            "view": lambda column: column.views == 1 and column.has_frontal_views and len(column.distinct) <= FEW,
            "sex": lambda column: column.sexes == 1 and len(column.distinct) == 2,
            "split": lambda column: column.splits == 1 and len(column.distinct) >= 2,
        }
        found: dict[str, str] = {}
        for role, is_right in tests.items():
            columns = [column for column in self.free.values() if column.values and is_right(column)]
            if role not in known and len(columns) == 1:
                found[role] = self.free.pop(columns[0].name).name
                self._note("columns", f"{found[role]!r} is taken for the {role} because of its values.")
        return found

    def _explain_words(self, role: str, name: str) -> None:
        """Say what words mean that the reader does not know, as far as that is known here."""
        column = next(one for one in self.sheet.columns if one.name == name)
        known = WORDS.get(role)
        strange = [
            word
            for word in column.distinct
            if (word.lower() not in known if known is not None else kind_of_view(word) == UNKNOWN)
        ]
        meanings = {word: meant for word in strange if (meant := lexicon.meaning(role, word))}
        if meanings:
            self.values[name] = meanings
        if len(strange) > len(meanings):
            self._note(
                "values",
                f"{len(strange) - len(meanings)} words of {name!r} are not known: say what they mean, as in `values: "
                f"{{{name}: {{word: {'PA' if role == 'view' else next(iter((known or SEXES).values()))}}}}}`.",
            )

    def _report(self) -> ReportSource:
        """Where the manifest itself has the reports."""
        files = [column for column in self.free.values() if self._names_texts(column)]
        if files:
            return ReportSource(file=self.free.pop(files[0].name).name)
        source = report_columns(list(self.free.values()))
        for name in [source.text, *source.sections.values()]:
            self.free.pop(name, None)
        if len(source.sections) == 1 and not source.text:
            self._note(
                "report", f"Only {next(iter(source.sections.values()))!r} was found of the sections of a report."
            )
        if source.text and not lexicon.fit(source.text, "text"):
            self._note("report", f"{source.text!r} is taken for the report because it has the longest texts.")
        return source

    def _names_texts(self, column: Column) -> bool:
        return bool(column.text_files) and self.listing_has(column.text_files)

    def _joined_report(self, study: str) -> ReportSource:
        """A table of its own with reports, or a folder of texts that are named by a column."""
        for other in self.others:
            keys = [column for column in other.columns if column.values and column.may_be_identifier]
            source = report_columns(other.columns)
            if not source.text and not source.sections:
                continue
            for key in keys:
                own = next((one for one in self.sheet.columns if one.name == key.name), None)
                own = own or next((one for one in self.sheet.columns if one.name == study), None)
                if own is not None and _overlap(own, key) > 0:
                    return ReportSource(
                        table=other.path, key=key.name, text=source.text, sections=dict(source.sections)
                    )
        stems = {PurePosixPath(path).stem: path for path in self.listing.paths() if _is_text(path)}
        for column in self.sheet.columns:
            named = [stems[value] for value in column.distinct if value in stems]
            folder = Counter(path.split("/")[0] for path in named if "/" in path).most_common(1)
            if folder and len(named) * 2 > len(column.distinct):
                return ReportSource(folder=folder[0][0], key=column.name)
        self._note("report", "No column and no other table has reports: without them the export is for evaluation.")
        return ReportSource()

    def _labels(self) -> LabelSource:
        """Columns of 1, 0 and -1, or one of the names of findings."""
        columns = {lexicon.label_of(one.name) or one.name: one for one in self.free.values() if one.is_label}
        if columns:
            unknown = [one for one in columns.values() if not lexicon.label_of(one.name)]
            if unknown:
                self._note("labels", f"Are these findings? {_names(unknown)}. Take out what is none.")
            for one in columns.values():
                self.free.pop(one.name)
            return LabelSource(columns={label: one.name for label, one in columns.items()})
        for column in list(self.free.values()):
            meant = {word: label for word in _split_words(column.distinct) if (label := lexicon.label_of(word))}
            if len(meant) > 1 and len(column.distinct) <= FEW and lexicon.fit(column.name, "words"):
                other = len(_split_words(column.distinct)) - len(meant)
                if other:
                    self._note("labels", f"{other} other words of {column.name!r} become no label.")
                self.free.pop(column.name)
                return LabelSource(column=column.name, values=meant)
        return LabelSource()

    def _boxes(self) -> BoxSource:
        """Boxes in the manifest, or in a table of its own with paths of the images."""
        own = box_columns(self.sheet.columns)
        if own:
            for name in own.values():
                self.free.pop(name, None)
            return BoxSource(**own)
        for other in self.others:
            found = box_columns(other.columns)
            image = next(
                (one.name for one in other.columns if one.paths and self.listing_has(one.paths, self.folder)), ""
            )
            if found and image:
                return BoxSource(table=other.path, image=image, **found)
        return BoxSource()

    def _date_format(self, name: str) -> str:
        column = next((one for one in self.sheet.columns if one.name == name), None)
        if column is None or not column.is_ambiguous_date():
            return ""
        day_first = lexicon.writes_day_first(one.name for one in self.sheet.columns)
        chosen = DAY_FIRST if day_first else "%m/%d/%Y"
        separator = "-" if column.share(lambda value: "-" in value) > column.share(lambda value: "/" in value) else "/"
        self._note(
            "date_format", f"Each date of {name!r} can be read with the day or with the month first. Correct this."
        )
        return chosen.replace("/", separator)

    def _note(self, key: str, sentence: str) -> None:
        self.notes.setdefault(key, []).append(sentence)


def report_columns(columns: Sequence[Column]) -> ReportSource:
    """The columns with sections of a report, or the one with the whole text; the longest texts if no name fits."""
    texts = [column for column in columns if column.is_text]
    by_section: dict[str, str] = {}
    for section in HEADINGS:
        fitting = [
            (lexicon.fit(one.name, section), one.name)
            for one in columns
            if (one.is_text or (one.values and lexicon.fit(one.name, section) == lexicon.WHOLE and _has_letters(one)))
            and lexicon.fit(one.name, section) and one.name not in by_section.values()
        ]  # fmt: skip
        if fitting:
            by_section[section] = max(fitting, key=lambda one: one[0])[1]
    whole = [one for one in texts if lexicon.fit(one.name, "text") and one.name not in by_section.values()]
    if "findings" not in by_section and "impression" in by_section and whole:
        by_section["findings"] = whole[0].name  # Befund beside Beurteilung
    if {"findings", "impression"} & by_section.keys() and not (whole and len(by_section) == 1):
        return ReportSource(sections={name: by_section[name] for name in HEADINGS if name in by_section})
    whole = whole or [one for one in texts if one.is_varied and one.name not in by_section.values()]
    if not whole:
        return ReportSource()
    best = max(whole, key=lambda one: (lexicon.fit(one.name, "text"), sum(map(len, one.values))))
    return ReportSource(text=best.name)


def box_columns(columns: Sequence[Column]) -> dict[str, str]:
    """label, x, y, width and height -> column; nothing where one of them is absent."""
    found: dict[str, str] = {}
    for role in ("label", *SIDES):
        fitting = [
            one.name
            for one in columns
            if lexicon.fit(one.name, role) == lexicon.WHOLE and (role == "label" or one.numbers >= MOST_OF)
        ]
        if not fitting:
            return {}
        found[role] = fitting[0]
    return found


def _has_letters(column: Column) -> bool:
    return column.share(lambda value: " " in value and not says_nothing(value)) > 0 and column.numbers < MOST_OF


def _split_words(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word.strip() for value in values for word in value.replace("|", ";").split(";") if word))


def _overlap(one: Column, other: Column) -> float:
    theirs = set(other.values)
    return one.share(lambda value: value in theirs)


def _spread(paths: Sequence[str]) -> list[str]:
    safe = [path for path in paths if stays_inside(path)]
    return safe[:: max(1, len(safe) // MOST_CHECKED)][:MOST_CHECKED]


def _is_text(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in TEXT_SUFFIXES


def _names(columns: Sequence[Column]) -> str:
    shown = ", ".join(column.name for column in columns[:MOST_SHOWN])
    return shown + (f" and {len(columns) - MOST_SHOWN} more" if len(columns) > MOST_SHOWN else "")


__all__ = ["IMAGE_SUFFIXES", "Guess", "box_columns", "guess_manifest", "report_columns"]
