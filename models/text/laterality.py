"""What a mirrored image says: sides swapped in the names of positions and in the words of a report.

A horizontally flipped image contradicts every "left" and "right" said about it. Swapping them as well keeps the pair
true. Some things have no mirror image, such as the right middle lobe: an image about them is better not flipped, so
whatever is in doubt is refused here. Organs that are named without a side (heart, aorta, stomach) keep their names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_FLAGS = re.IGNORECASE | re.ASCII
_GAP = r"[\W_]+"  # between two words


def _words(alternatives: str) -> str:
    """A pattern of whole words; an underscore separates words here."""
    return rf"(?<![A-Za-z0-9])(?:{alternatives})(?![A-Za-z0-9])"


# Words that change places. Letters that stand for lobes, zones, quadrants, extremities, veins and oblique views.
_PAIRS = [
    *((f"left{ending}", f"right{ending}") for ending in ("", "ward", "wards", "most")),
    *((f"l{rest}", f"r{rest}") for rest in ("ll", "ul", "lz", "mz", "uz", "lq", "uq", "le", "ue", "ij", "ao", "po")),
    *(("l", "r"), ("lt", "rt"), ("dextro", "levo")),
]
_SWAPPED = {first: second for pair in _PAIRS for first, second in (pair, pair[::-1])}

_MARKER = _words("lt?|rt?")  # L, R, Lt, Rt
_RULE_OUT = r"/o\b"  # "r/o pneumonia" has no side
_CURVE = r"(?=[\W_]?(?:roto)?(?:scolio|curv|convex))"  # dextroscoliosis is the mirror image of levoscoliosis
_PLAIN = "|".join(word for word in _SWAPPED if len(word) > 2 and word not in ("dextro", "levo"))
_SIDED = re.compile(rf"{_words(_PLAIN)}|{_MARKER}(?!{_RULE_OUT})|(?<![A-Za-z0-9])(?:dextro|levo){_CURVE}", _FLAGS)

# A lone letter is a side before one of these, or when two are compared ("R > L"); else it may be litres or a name.
_SIDED_NOUNS = (
    "sided?|lungs?|lobe|lower|upper|mid|base|bases|basal|basilar|bibasilar|apex|apical|hilum|hilar|perihilar|infrahilar|"
    "pleural|effusions?|pneumothorax|ptx|hemithorax|hemidiaphragm|costophrenic|cp|cpa|chest|ij|internal|jugular|"
    "subclavian|picc|port|ribs?|clavicle|shoulder|breast|lateral|paratracheal"
)
_CLEAR_MARKER = re.compile(
    rf"{_MARKER}\s*(?:[<>=/&]|and|greater than|less than)\s*{_MARKER}"
    rf"|{_MARKER}(?:{_RULE_OUT}|(?=\.?[\W_]+{_words(_SIDED_NOUNS)}))",
    _FLAGS,
)

_SIDE = _words("left|right|lt|rt|l|r")
_REFUSED = re.compile(
    "|".join(
        (
            rf"{_words('mid(?:dle)?')}[^.;]*{_words('lobes?|lobar')}|{_words('[rl]ml')}",  # the right middle lobe
            _words(r"lingul\w*|(?:minor|horizontal)[\W_]+fissures?|azygos|azygous"),  # others of one side only
            _words(r"situs|kartagener\w*|(?:dextro|levo|meso)[\W_]?(?:cardia|position\w*|version)"),
            # chambers and vessels of the heart are named for their blood, not for where they lie
            rf"{_SIDE}(?:{_GAP}sided)?{_GAP}(?:atri|ventric|coronary|main{_GAP}coronary|anterior{_GAP}descending"
            rf"|circumflex|bundle|internal{_GAP}mammary|heart(?!{_GAP}border))",
            _words("[lr](?:a|v|ae|ve|vh|vef|vad|aa|ad|ca|cx|ima|bbb|hc)"),
            # "left in place", "was left", "all right": no side
            rf"{_SIDE}{_GAP}(?:in{_GAP}(?:place|situ|position)|the|ama|against|after|away|now)(?![A-Za-z])",
            rf"{_words('was|were|been|be|being|had|has|have|all')}{_GAP}{_SIDE}(?!{_GAP}sided)",
        )
    ),
    _FLAGS,
)


def mirror_positions(names: Sequence[str]) -> list[int | None]:
    """For every position the index of its mirror image, itself where the name has no side.

    None where the side's counterpart is no position (middle_right_lobe, right_atrium): an image that mentions it is not
    to be flipped.
    """
    index = {name: place for place, name in enumerate(names)}
    return [index.get(_SIDED.sub(_swap, name)) for name in names]


def mirror_text(text: str) -> str | None:
    """`text` as said of the mirrored image, or None where that cannot be put truthfully.

    Its own inverse: the mirror image of a mirrored text is the text.
    """
    if _REFUSED.search(text) or re.search(_MARKER, _CLEAR_MARKER.sub(" ", text), _FLAGS):
        return None
    try:
        return _SIDED.sub(_swap, text)
    except KeyError:  # a word written like "lEFT", whose letters' case cannot be carried over
        return None


def _swap(match: re.Match[str]) -> str:
    """The opposite word in the same case: lower, upper or capitalised."""
    word = match.group()
    for case in (str.lower, str.upper, str.capitalize):
        if word == case(word):
            return case(_SWAPPED[word.lower()])
    raise KeyError(word)
