"""Audits a run on its own dataset and on all others, and writes the page and the model card.

What was measured on a dataset is kept with what decided it: the weights, the data, the facts, the settings and the
code. It is used again as long as these are the same. The latest audit of every run is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from evaluation.audit.audit import Audit
from evaluation.audit.collect import Collected
from evaluation.audit.measure import Log, measure_dataset
from evaluation.audit.measures.multiplicity import correct
from evaluation.audit.pages.card import card_as_html, card_as_markdown, describe_nothing
from evaluation.audit.pages.page import as_html
from evaluation.audit.rows import DatasetAudit
from evaluation.audit.settings import AuditSettings
from evaluation.audit.shift import build_matrix
from evaluation.dataset import EvaluationDataset, expect_table
from evaluation.errors import EvaluationError
from evaluation.predictions import Predictions
from evaluation.results.files import FOLDER as RESULTS
from evaluation.results.trainings import describe_run
from ingestion.tables.regions import update_regions
from ingestion.workspace import Workspace
from models.compute import AUTOMATIC, Compute
from store.atomic import replacing
from store.code import code_version
from store.digests import fingerprint, known_digest
from store.errors import DamageError, UserError
from store.seals import expect_intact, is_sealed, write_sealed_json
from tracking.runs import TrainedRun

FOLDER = "audit"  # under the results
PAGE, CARD, CARD_PAGE = "index.html", "model_card.md", "model_card.html"
HEADLINES = "found.json"  # the sentences about what is found
AGAIN = "it is measured again."


@dataclass(frozen=True)
class WrittenAudit:
    """An audit, and where it was written."""

    audit: Audit
    folder: Path
    computed: int  # datasets that were measured
    reused: int  # datasets whose numbers were there

    @property
    def page(self) -> Path:
        """The page of the audit."""
        return self.folder / PAGE

    @property
    def card(self) -> Path:
        """The model card in Markdown."""
        return self.folder / CARD


def audit_run(
    home: Workspace,
    run: TrainedRun,
    datasets: Sequence[EvaluationDataset],
    left_out: Sequence[str],
    settings: AuditSettings,
    log: Log,
    compute: Compute = AUTOMATIC,
) -> WrittenAudit:
    """Audit a run of the workspace's cohort on `datasets`, its own first, and write everything.

    `left_out` says which datasets are not among them, and why. A dataset that cannot be measured is left out, too;
    EvaluationError where none is left.
    """
    folder = folder_of(home, run)
    measured, reasons, computed = [], list(left_out), 0
    for dataset in datasets:
        collected = Collected(Predictions(dataset, run, "trained", log, compute), settings)
        name = dataset.workspace.cohort_name()
        try:
            found, reused = _keep(collected, folder / f"{name}.json", log)
        except UserError as error:
            reasons.append(f"{name} was not audited: {error}")
            log(reasons[-1])
            continue
        measured.append(found)
        computed += not reused
    if not measured:
        raise EvaluationError(f"Nothing of {run.name} was audited. {reasons[-1]}")
    now = f"{datetime.now():%Y-%m-%d %H:%M}"
    training = describe_run(home, run)
    audit = Audit(training, home.cohort_name(), settings, correct(measured), reasons, build_matrix(home, log), now)
    files = {PAGE: as_html(audit), CARD: card_as_markdown(audit), CARD_PAGE: card_as_html(audit)}
    for name, text in files.items():
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    write_sealed_json(folder / HEADLINES, audit.headlines() or [describe_nothing(audit)])
    return WrittenAudit(audit, folder, computed, len(measured) - computed)


def folder_of(home: Workspace, run: TrainedRun) -> Path:
    """The folder of the audit of a run; the latest run of the same cohort, method, variant and seed has the same."""
    cohort = home.cohort_name()
    readable = re.sub(r"[^A-Za-z0-9_+]+", "-", f"{cohort}-{run.name}-seed{run.seed}")
    name = f"{readable}-{fingerprint(cohort, run.name, run.seed)[:6]}"
    return home.home_path() / RESULTS / FOLDER / name


def find_pages(results: Path) -> dict[str, str]:
    """The name of every audit in the folder of results, and its page from a folder beside them, such as the tables."""
    found = sorted((results / FOLDER).glob(f"*/{PAGE}"))
    return {path.parent.name.rpartition("-")[0]: f"../{FOLDER}/{path.parent.name}/{PAGE}" for path in found}


def read_headlines(folder: Path) -> list[str]:
    """The sentences about what the audit in a folder has found."""
    path = folder / HEADLINES
    if not path.exists():
        return []
    found: list[str] = json.loads(expect_intact(path, "audit again.").read_text(encoding="utf-8"))
    return found


def _keep(collected: Collected, path: Path, log: Log) -> tuple[DatasetAudit, bool]:
    """What was measured on a dataset, and whether it was there already."""
    key = _key(collected)
    if is_sealed(path) or path.exists():
        try:
            content = json.loads(expect_intact(path, AGAIN).read_text(encoding="utf-8"))
            if content["key"] == key:
                return DatasetAudit.from_dict(content["audit"]), True
        except DamageError as error:
            log(str(error))
    log(f"Auditing {collected.predictions.run.name} on {path.stem}.")
    found = measure_dataset(collected, log)
    write_sealed_json(path, {"key": key, "audit": found.as_dict()})
    return found, False


def _regions_digest(dataset: EvaluationDataset) -> str:
    """Digest of its regions and boxes, brought up to date; empty where they cannot be read, which is told later."""
    try:
        update_regions(dataset.workspace)
        return dataset.regions_digest()
    except UserError:
        return ""


def _key(collected: Collected) -> str:
    """Digest of everything that decides what is measured on a dataset."""
    from models.registry import evaluated_modules

    predictions, dataset = collected.predictions, collected.dataset
    return fingerprint(
        asdict(collected.settings),
        predictions.digest,
        predictions.compute.precision,
        dataset.reader.manifest.digest,
        known_digest(expect_table(dataset.workspace, "studies")),
        _regions_digest(dataset),
        dataset.queries_digest(),
        dataset.facts.facts(),
        code_version("evaluation.audit.measure", *evaluated_modules(predictions.run.method)),
    )
