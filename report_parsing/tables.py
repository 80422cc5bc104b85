"""The tables of the text side: `reports`, `triplets` and `knowledge`. All spans are characters of `report`."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

SCHEMA_VERSION = "1"
REPORTS_VERSION = "3"  # 2: sections, and the text of sentences; 3: language

SECTION = pa.struct(
    [
        pa.field("name", pa.string(), nullable=False),  # report_parsing.sections.parser
        pa.field("start", pa.int32(), nullable=False),  # heading: report[start:body]
        pa.field("body", pa.int32(), nullable=False),  # body: report[body:end]
        pa.field("end", pa.int32(), nullable=False),  # the start of the next section
    ]
)

SENTENCE = pa.struct(
    [
        pa.field("section", pa.string(), nullable=False),  # findings, impression, ...
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),  # on one line, without the marks of removed names
    ]
)

REPORTS = pa.schema(
    [
        pa.field("cohort", pa.string(), nullable=False),
        pa.field("study_id", pa.string(), nullable=False),
        pa.field("report", pa.string(), nullable=False),  # the whole text as found
        pa.field("examination", pa.string()),
        pa.field("indication", pa.string()),
        pa.field("technique", pa.string()),
        pa.field("comparison", pa.string()),
        pa.field("findings", pa.string()),
        pa.field("impression", pa.string()),
        pa.field("last_paragraph", pa.string()),
        pa.field("sections", pa.list_(SECTION), nullable=False),  # they tile the report
        pa.field("text", pa.string(), nullable=False),  # the pretraining text
        pa.field("sentences", pa.list_(SENTENCE), nullable=False),  # of the sections of the pretraining text
        pa.field("language", pa.string()),  # report_parsing.language.detection, of the text; null: no text
    ],
    metadata={"table": "reports", "version": REPORTS_VERSION},
)

TRIPLETS = pa.schema(
    [
        pa.field("study_id", pa.string(), nullable=False),
        pa.field("sentence", pa.int32(), nullable=False),  # index into reports.sentences
        pa.field("entity", pa.string(), nullable=False),  # one of MedKLIP's 75 observations
        pa.field("position", pa.string(), nullable=False),  # one of its 51 positions
        pa.field("exists", pa.string(), nullable=False),  # present, absent, uncertain
        pa.field("start", pa.int32(), nullable=False),  # evidence span in the report
        pa.field("end", pa.int32(), nullable=False),
    ],
    metadata={"table": "triplets", "version": SCHEMA_VERSION},
)


class Triplet(NamedTuple):
    """An observation, one of the 51 positions, present/absent/uncertain, and its evidence as characters."""

    entity: str
    position: str
    exists: str
    start: int
    end: int


KNOWLEDGE = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),  # entity or position
        pa.field("name", pa.string(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ],
    metadata={"table": "knowledge", "version": SCHEMA_VERSION},
)
