"""Our prompts for findings are those of the lists of Seibold et al., as far as these are one phrase per finding."""

import hashlib
import json

import pytest

from models.methods.contrast.seibold import SeiboldConfig
from models.text.prompts import PromptPair
from tests.golden.conftest import golden_files

OURS = ("cosine", "basic")  # the third, synonymous, is lists of phrases that are not given


@pytest.mark.parametrize("path", golden_files("seibold_prompts*.json"))
def test_prompts_of_both_modes(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    tables = {name: table for name, table in content.items() if name.split(".")[0] in OURS}
    assert {name.split(".")[0] for name in tables} == set(OURS)
    settings = SeiboldConfig()
    prompts = PromptPair(settings.positive_prompt, settings.negative_prompt)
    for table in tables.values():
        for finding, sides in table.items():
            positive, negative = prompts.fill(finding.replace("_", " ").lower())
            for side, texts in {"1": positive, "0": negative}.items():
                if side in sides:
                    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
                    assert (len(texts), digest) == (sides[side]["count"], sides[side]["sha256"]), finding
