"""What GLoRIA says of a finding when it classifies: every combination of how much, what kind, and where.

The authors ask about five findings of CheXpert in this way, with as many words to choose from as here. The words are
ours, and no two contradict each other (their list also says "left bilateral pleural effusion").
"""

from __future__ import annotations

from itertools import product
from random import Random

# Per finding the parts of a prompt, in the order they are said; "" says nothing.
PROMPTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "atelectasis": (
        ("", "mild", "minimal"),
        (
            "atelectasis", "subsegmental atelectasis", "linear atelectasis", "bandlike atelectasis",
            "platelike atelectasis", "compressive atelectasis", "atelectatic changes",
        ),
        (
            "at the lung bases", "at both lung bases", "at the left lung base", "at the right lung base",
            "in the left lower lobe", "in the right lower lobe", "in the left mid lung zone",
            "in the right mid lung zone", "in the left upper lobe", "in the right upper lobe",
        ),
    ),
    "cardiomegaly": (
        (
            "cardiomegaly", "mild cardiomegaly", "moderate cardiomegaly", "severe cardiomegaly", "stable cardiomegaly",
            "the heart is enlarged", "the heart is mildly enlarged", "the heart is moderately enlarged",
            "the heart is severely enlarged", "heart size is enlarged", "enlarged cardiac silhouette",
            "cardiac silhouette is mildly enlarged", "cardiac silhouette remains enlarged",
            "persistent enlargement of the heart", "enlargement of the cardiac silhouette is unchanged",
        ),
    ),
    "consolidation": (
        ("", "subtle", "new", "increased"),
        (
            "consolidation", "focal consolidation", "patchy consolidation", "airspace consolidation",
            "confluent consolidation", "dense consolidation",
        ),
        (
            "in the left lower lobe", "in the right lower lobe", "in the left upper lobe", "in the right upper lobe",
            "in the left mid lung zone", "in the right mid lung zone",
            "at the left lung base", "at the right lung base",
        ),
    ),
    "edema": (
        ("", "mild", "moderate", "severe", "increased", "persistent"),
        ("pulmonary edema", "interstitial edema", "pulmonary vascular congestion with edema"),
    ),
    "pleural effusion": (
        ("", "small", "moderate", "large", "increased", "stable"),
        ("left", "right", "bilateral"),
        ("pleural effusion", "layering pleural effusion", "subpulmonic pleural effusion"),
    ),
}  # fmt: skip


def all_prompts(finding: str) -> list[str]:
    """Every prompt about `finding`, in a fixed order; none for a finding without words here."""
    parts = PROMPTS.get(finding.lower())
    return [" ".join(filter(None, choice)) for choice in product(*parts)] if parts else []


def sample_prompts(finding: str, number: int, seed: int) -> list[str]:
    """`number` different prompts about `finding` (all, if there are fewer), the same for the same `seed`."""
    prompts = all_prompts(finding)
    return Random(f"{seed} {finding.lower()}").sample(prompts, min(number, len(prompts)))
