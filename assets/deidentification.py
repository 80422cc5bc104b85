"""What the headers of decoded films held of their patients, and that nothing of it was kept: names and counts only."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from assets import previews
from assets.batched import Metadata

COLUMNS = ("image_id", "dropped", "burned_in")
NAMED_FILMS = 100
SAID = {True: "yes", False: "no", None: "not said"}


def report(films: pa.Table) -> Metadata:
    """Metadata over COLUMNS of the decoded films: keywords of dropped DICOM attributes with the films that had them,
    and the films that say that annotation is burned into their pixels, where nothing can drop it."""
    attributes = pc.value_counts(pc.list_flatten(films["dropped"])).to_pylist()
    dropped = sorted(((row["values"], row["counts"]) for row in attributes), key=lambda pair: (-pair[1], pair[0]))
    burned_in = Counter(films["burned_in"].to_pylist())
    metadata: Metadata = {
        "identifying attributes": previews.markdown_table(("attribute", "films"), dropped),
        **{f"burned-in annotation: {word}": burned_in[said] for said, word in SAID.items()},
    }
    if burned_in[True]:
        named = films.filter(pc.field("burned_in"))
        metadata["films with burned-in annotation"] = previews.head(named, ("image_id",), NAMED_FILMS)
    return metadata
