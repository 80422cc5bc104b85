"""The tree finds exactly the phrases that a plain search finds."""

from hypothesis import given
from hypothesis import strategies as st

from report_parsing.lexicon.phrases import PhraseTree

WORDS = st.sampled_from(["left", "right", "lung", "base"])


@given(st.lists(st.lists(WORDS, min_size=1, max_size=3), max_size=6), st.lists(WORDS, max_size=10))
def test_finds_what_a_plain_search_finds(phrases, words):
    tree = PhraseTree()
    for phrase in phrases:
        tree.add(phrase, tuple(phrase))
    expected = sorted(
        (start, start + len(phrase), tuple(phrase))
        for phrase in phrases
        for start in range(len(words))
        if words[start : start + len(phrase)] == phrase
    )
    assert sorted(tree.find(words)) == expected


def test_a_phrase_may_mean_two_things():
    tree = PhraseTree()
    tree.add(["base"], "place")
    tree.add(["base"], "word")
    assert list(tree.find(["base"])) == [(0, 1, "place"), (0, 1, "word")]
