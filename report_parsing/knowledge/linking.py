"""The knowledge base behind the interfaces of scispacy: its `KnowledgeBase`, and the candidates of its entity linker.

scispacy's own index of candidates refuses current scipy, and drops most trigrams of a base this small (its `min_df` is
10), which maps "tortuous thoracic aorta" to "fracture". Ours takes its place:

    from scispacy.linking import EntityLinker
    linker = EntityLinker(candidate_generator=CandidateGenerator(KnowledgeBase.default()))
    linker(doc).ents[0]._.kb_ents        # [("pneumothorax", 0.96)]

scispacy is made for Python below 3.13. Nothing else here needs it: `KnowledgeBase` itself looks terms up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from report_parsing.knowledge.base import KnowledgeBase
from store.errors import UserError

if TYPE_CHECKING:
    from scispacy.candidate_generation import MentionCandidate
    from scispacy.linking_utils import KnowledgeBase as ScispacyKnowledgeBase


class LinkerError(UserError, ImportError):
    """scispacy is not there."""


def as_scispacy(base: KnowledgeBase) -> ScispacyKnowledgeBase:
    """The same base as a scispacy `KnowledgeBase`; names are its concept ids, kinds its types.

    LinkerError where scispacy is not installed.
    """
    try:
        from scispacy.linking_utils import Entity
        from scispacy.linking_utils import KnowledgeBase as ScispacyKnowledgeBase
    except ImportError as error:
        raise LinkerError(
            "scispacy is not installed: `make setup` installs it under Python 3.11 and 3.12, for which it is made."
        ) from error

    return ScispacyKnowledgeBase(
        [
            Entity(item.name, item.name, base.aliases(item.name), [item.kind], item.description)
            for item in base.descriptions
        ]
    )


class CandidateGenerator:
    """What scispacy's `EntityLinker` asks for candidates: called with mentions, and `kb`.

    A mention that the base does not know has no candidates, whatever the linker's own threshold.
    """

    def __init__(self, base: KnowledgeBase) -> None:
        self._base = base
        self.kb = as_scispacy(base)

    def __call__(self, mention_texts: Sequence[str], k: int) -> list[list[MentionCandidate]]:
        """Up to `k` candidates of each mention, the nearest first."""
        return [self._candidates(mention, k) for mention in mention_texts]

    def _candidates(self, mention: str, k: int) -> list[MentionCandidate]:
        from scispacy.candidate_generation import MentionCandidate

        if self._base.lookup(mention) is None:
            return []
        near = [item for item in self._base.nearest(mention, k) if item.score >= self._base.threshold]
        return [MentionCandidate(item.name, [item.alias], [item.score]) for item in near]
