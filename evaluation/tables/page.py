"""The tables as one HTML page that can be sorted, filtered and printed. The page loads no other file.

All texts are escaped. The content security policy of the page allows only its own script, by digest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evaluation.errors import EvaluationError
from evaluation.results.headlines import Headline
from evaluation.tables import matrix_texts
from evaluation.tables import texts as table_texts
from evaluation.tables.sources import Sources
from evaluation.tables.texts import TablesDocument
from evaluation.tables.traps import read_traps

TEMPLATES = Path(__file__).parent / "templates"


def as_html(
    document: TablesDocument,
    sources: Sources | None = None,
    headlines: Mapping[str, Sequence[Headline]] | None = None,
    audits: Mapping[str, str] | None = None,
) -> str:
    """Render the page. Every measured number links to where it is from, which is one of `sources`.

    `headlines` are those of the trainings by the cohort of the pretraining, `audits` the pages of audits by their name.
    """
    sources = sources or Sources()
    pages = [run.page for source in sources for run in source.runs if run.page]
    if wrong := [page for page in pages if not page.startswith(("http://", "https://"))]:
        raise EvaluationError(f"The address of MLflow must begin with http:// or https://, but one is {wrong[0]!r}.")
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.filters["words"] = matrix_texts.in_words
    environment.globals.update(formats=table_texts, matrices=matrix_texts, traps=read_traps())
    script, style = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("tables.js", "tables.css"))
    lines = [line for table in document.tables for line in table.lines]
    page = environment.get_template("tables.html")
    return page.render(
        document=document,
        sources=sources,
        headlines=headlines or {},
        audits=audits or {},
        pretrainings=list(document.pretrainings),
        papers=list(dict.fromkeys(table.paper for table in document.tables)),
        methods=sorted({line.method for line in lines}, key=lambda name: (":" in name or name != name.lower(), name)),
        cohorts=sorted({line.cohort for line in lines}),
        tasks=sorted({line.task for line in lines}),
        settings=sorted({line.setting for line in lines}, key=lambda name: (not name[:1].isdigit(), len(name), name)),
        script=script,
        style=style,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
