"""Reports in languages that are not parsed: their studies stay, their triplets and labels are rejected and counted."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

REASON = "language_not_parsed"
# One row is one study, whose images and text can be used.
UNPARSED = pa.schema(
    [
        pa.field("cohort", pa.string(), nullable=False),
        pa.field("study_id", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),  # triplets, report_labels
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),  # one sentence
    ],
    metadata={"table": "unparsed", "version": "1"},
)


def find_unparsed(reports: pa.Table) -> pa.Array:
    """Whether each report is in a language that is not parsed."""
    from report_parsing.language.gloss import is_parsed

    return pa.array([not is_parsed(language) for language in reports["language"].to_pylist()], pa.bool_())


def list_unparsed(reports: pa.Table, stage: str) -> pa.Table:
    """A row of UNPARSED for each of these reports, in order."""
    from report_parsing.language.detection import language_name

    names = {code: language_name(code) for code in pc.unique(reports["language"]).to_pylist()}
    details = [f"The report is in {names[code]}, which is not parsed." for code in reports["language"].to_pylist()]
    columns = {
        "cohort": reports["cohort"],
        "study_id": reports["study_id"],
        "stage": pa.array([stage] * len(details), pa.string()),
        "reason": pa.array([REASON] * len(details), pa.string()),
        "detail": pa.array(details, pa.string()),
    }
    return pa.table(columns, schema=UNPARSED)
