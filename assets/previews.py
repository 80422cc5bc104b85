"""What the pages of Dagster show of a table: counts, a few rows, small pictures. Never a report's text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from evaluation.results import markdown
from ingestion.previews.summaries import count_rows


def counts(tables: pa.Table | Iterable[pa.Table], *columns: str) -> dg.TableMetadataValue:
    """How many rows of a table, or of several one after another, there are of each combination of values."""
    found = count_rows([tables] if isinstance(tables, pa.Table) else tables, columns)
    rows = found.sort_by([(column, "ascending") for column in columns]).to_pylist()
    return _records(rows, (*columns, "rows"))


def reasons(rejects: pa.Table | None) -> dict[str, dg.TableMetadataValue]:
    """Why a stage rejected images, as metadata; empty where it rejected none."""
    return {"reject reasons": counts(rejects, "reason")} if rejects is not None and rejects.num_rows else {}


def head(table: pa.Table, columns: Sequence[str], rows: int = 8) -> dg.TableMetadataValue:
    """The first rows of some columns."""
    return _records(table.select(list(columns)).slice(0, rows).to_pylist(), columns)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> dg.MarkdownMetadataValue:
    """A small table as Markdown, whatever stands in its cells."""
    return dg.MetadataValue.md(markdown.markdown_table(header, rows))


def markdown_list(sentences: Iterable[str]) -> dg.MarkdownMetadataValue:
    """Sentences as a list in Markdown."""
    return dg.MetadataValue.md("\n".join(f"- {markdown.escape_markdown(sentence)}" for sentence in sentences))


def picture(png: bytes, name: str) -> dg.MarkdownMetadataValue:
    """A picture inside the metadata, small enough for the event log."""
    from evaluation.figures.pictures import data_uri, shrink

    text = markdown.escape_markdown(name.replace("[", "(").replace("]", ")"))
    return dg.MetadataValue.md(f"![{text}]({data_uri(shrink(png))})")


def _records(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> dg.TableMetadataValue:
    schema = dg.TableSchema([dg.TableColumn(column) for column in columns])
    records = [dg.TableRecord({column: _plain(row[column]) for column in columns}) for row in rows]
    return dg.MetadataValue.table(records, schema)


def _plain(value: Any) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
