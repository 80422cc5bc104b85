"""The word lists are well formed, and nothing heavy is imported before a parser is made."""

import subprocess
import sys
from collections import Counter

from report_parsing.anatomy.positions import SIDES, ZONES, match_position
from report_parsing.lexicon.words import Lexicon, observation_forms
from report_parsing.resources import read_cell, read_rows
from report_parsing.vocabulary import ENTITIES, NORMAL_ENTITIES, POSITIONS

COMPLETIONS = [frozenset(item.split()) for item in ("", "left", "right", "left lower", "right upper")]


def test_vocabulary_is_medklips():
    assert (len(ENTITIES), len(set(ENTITIES)), ENTITIES[8], ENTITIES[-1]) == (75, 75, "effusion", "excluded_obs")
    assert (len(POSITIONS), len(set(POSITIONS)), POSITIONS[0], POSITIONS[-1]) == (51, 51, "trachea", "other")
    assert NORMAL_ENTITIES[-1] == "free"


def test_every_observation_has_a_form():
    assert {entity for entities, _ in observation_forms() for entity in entities} == set(ENTITIES)


def test_no_form_is_listed_twice():
    for name in ("observations.csv", "locations.csv", "cues.csv"):
        forms = [form for row in read_rows(name) for form in read_cell(row["forms"])]
        repeated = {form for form, count in Counter(forms).items() if count > 1}
        assert name == "cues.csv" or not repeated, name


def test_places_are_made_of_words_that_the_rules_know():
    for row in read_rows("locations.csv"):
        words = frozenset(read_cell(row["words"], "+")) - {"elsewhere"}
        if words - SIDES - ZONES:
            assert any(match_position(words | extra) != "other" for extra in COMPLETIONS), row["words"]


def test_cells_hold_known_values():
    assert {row["role"] for row in read_rows("observations.csv")} == {"finding", "state"}
    assert {row["side"] for row in read_rows("cues.csv")} == {"before", "after", "between", "none", "answer"}
    assert {row["says"] for row in read_rows("cues.csv")} == {"absent", "uncertain", "present", "unexcluded"}
    reaches = {"list", "phrase", "next", "device", "finding", "favored", "likelier"}
    assert {row["reach"] for row in read_rows("cues.csv")} == reaches
    for row in read_rows("implications.csv"):
        assert {row["entity"], row["implied_entity"]} <= set(ENTITIES)


def test_the_longest_form_wins():
    reading = Lexicon().read("left central venous catheter in the left lower lobe")
    assert [mention.term.entities for mention in reading.observations] == [("line", "catheter")]
    assert {mention.term for mention in reading.locations.values()} == {
        frozenset({"left"}),
        frozenset({"lobe", "lower"}),
    }


def test_importing_costs_neither_spacy_nor_sklearn():
    code = (
        "import sys, report_parsing.statements.triplets, report_parsing.knowledge.base, report_parsing.reports; "
        "print([name for name in ('spacy', 'scispacy', 'sklearn', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
