"""Sentences that say a finding is there, and that it is not: how methods that match texts are asked about findings."""

from __future__ import annotations

from dataclasses import dataclass

SEPARATOR = "|"  # between the templates of one polarity
# "no No Finding" would ask for the opposite (CheXzero issue 19): an image without findings has words of its own.
NO_FINDING = ("no finding", "no findings", "normal")
NORMAL_PROMPTS, ABNORMAL_PROMPTS = ("normal",), ("abnormal",)


@dataclass(frozen=True)
class PromptPair:
    """Templates, several joined by `|`; the defaults are CheXzero's.

    Positive ones have a `{}` each. Negative ones may do without, and describe a normal image whatever the finding.
    """

    positive: str = "{}"
    negative: str = "no {}"
    literal: bool = False  # images without findings are asked about in these templates too, as CheXzero's code does

    def __post_init__(self) -> None:
        if not all("{}" in template for template in self.positive.split(SEPARATOR)):
            raise ValueError(f"the positive prompt `{self.positive}` needs `{{}}`, where the finding's name goes")

    def fill(self, finding: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The positive and the negative sentences about `finding`."""
        if finding.lower() in NO_FINDING and not self.literal:
            return NORMAL_PROMPTS, ABNORMAL_PROMPTS
        return _filled(self.positive, finding), _filled(self.negative, finding)


def _filled(templates: str, finding: str) -> tuple[str, ...]:
    return tuple(template.replace("{}", finding) for template in templates.split(SEPARATOR))
