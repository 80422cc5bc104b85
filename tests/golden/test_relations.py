"""Our graphs of the golden sentences beside the hand-made ones, which were made to test a derivation, not a parser.

What differs is meant to: the hand-made graphs plant odd labels and relations for the derivation to trip over, mark
words outside the 75 observations ("terminates", "patient") and do without parts such as "region".
"""

import json
from collections import Counter

import pytest

from report_parsing.statements.relations import GraphParser
from tests.golden.conftest import golden_files


@pytest.mark.parametrize("path", golden_files("radgraph_reports*.json"))
def test_entities_and_relations(path):
    parser = GraphParser()
    ours, theirs = (Counter(), Counter()), (Counter(), Counter())
    for key, report in json.loads(path.read_text()).items():
        entities = report["entities"]
        for entity in entities.values():
            theirs[0][key, entity["tokens"], entity["label"]] += 1
            theirs[1].update((key, entity["tokens"], kind, entities[to]["tokens"]) for kind, to in entity["relations"])
        entities = parser.parse_report(report["text"]).entities
        for entity in entities.values():
            ours[0][key, entity.tokens, entity.label] += 1
            ours[1].update((key, entity.tokens, kind, entities[to].tokens) for kind, to in entity.relations)
    f1 = [2 * (one & other).total() / (one.total() + other.total()) for one, other in zip(ours, theirs, strict=True)]
    assert f1[0] >= 0.88  # measured .946
    assert f1[1] >= 0.78  # measured .902
