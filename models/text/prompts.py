"""Prompts for the presence and the absence of a finding, for zero-shot classification."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import ModelError

SEPARATOR = "|"  # between the templates of one polarity
# "no No Finding" would mean the opposite (CheXzero issue 19), so images without findings have prompts of their own.
NO_FINDING = ("no finding", "no findings", "normal")
NORMAL_PROMPTS, ABNORMAL_PROMPTS = ("normal",), ("abnormal",)


@dataclass(frozen=True)
class PromptPair:
    """Templates, several joined by `|`; the defaults are CheXzero's.

    Positive ones have a `{}` each. Negative ones may do without, and describe a normal image whatever the finding.
    """

    positive: str = "{}"
    negative: str = "no {}"
    literal: bool = False  # the label No Finding uses these templates too, as in CheXzero's code

    def __post_init__(self) -> None:
        if not all("{}" in template for template in self.positive.split(SEPARATOR)):
            raise ModelError(f"the positive prompt `{self.positive}` needs `{{}}`, where the finding's name goes")

    def fill(self, finding: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The positive and the negative sentences about `finding`."""
        if finding.lower() in NO_FINDING and not self.literal:
            return NORMAL_PROMPTS, ABNORMAL_PROMPTS
        return _fill(self.positive, finding), _fill(self.negative, finding)


def _fill(templates: str, finding: str) -> tuple[str, ...]:
    return tuple(template.replace("{}", finding) for template in templates.split(SEPARATOR))
