"""Characters that look alike, or are not seen at all, made one: Unicode's compatibility form (NFKC), with exceptions.

deleted      soft hyphens, blanks of no width, marks of direction, control characters, lone surrogates
made plain   ligatures, full-width and raised letters, no-break blanks and hyphens, typographic quotes
kept         letters with accents, en and em dashes, fractions, "№" (NFKC: "No"), "…"
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_HYPHEN, _APOSTROPHE, _QUOTE, _BULLET, _BLANK = "-", "'", '"', "•", " "
_INSTEAD = {
    **dict.fromkeys("\u2010\u2011\u2012\u2212\ufe63\uff0d", _HYPHEN),
    **dict.fromkeys("\u2015\ufe31\ufe58", "—"),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4\uff07", _APOSTROPHE),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033\uff02", _QUOTE),
    **dict.fromkeys("\uf0b7\uf0a7\uf076\uf0d8\uf0fc\u2043", _BULLET),  # Symbol's and Wingdings' bullets
    **dict.fromkeys("\u2800\u3164\u115f\u1160\uffa0", _BLANK),  # no white space to Unicode, yet empty
    **dict.fromkeys("™℠®©\u034f", ""),  # NFKC: "CathTM"
    **dict.fromkeys("№ªº¨¯¸…", None),
    "\u3002": ".",
    "\u3001": ",",
    "\u2044": "/",
}
_VARIANTS = range(0xFE00, 0xFE10)  # how the character in front is drawn
_ESCAPED = range(0xDC80, 0xDD00)  # bytes that Python could not decode
_CIRCLED = range(0x2460, 0x2474)  # 1 to 20
_WHITE = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85"  # control characters that end lines or are blanks


@lru_cache(maxsize=10_000)
def made_plain(written: str) -> str:
    """What is read in place of a character, with the combining marks that belong to it; empty: nothing."""
    first = written[0]
    if first in _INSTEAD:
        instead = _INSTEAD[first]
        return written if instead is None else instead
    code, category = ord(first), unicodedata.category(first)
    if category == "Cs":
        return _plain_byte(code - 0xDC00) if code in _ESCAPED else ""
    if category == "Cc":
        return written if first in _WHITE else _plain_byte(code)
    if category == "Cf" or code in _VARIANTS:
        return ""
    if category == "Co":
        return _BLANK
    if code in _CIRCLED:
        return f"({code - _CIRCLED[0] + 1})"
    if "FRACTION" in unicodedata.name(first, ""):
        return written
    plain = unicodedata.normalize("NFKC", written)
    return "".join(_INSTEAD.get(character) or character for character in plain)


def _plain_byte(code: int) -> str:
    """Quotes, dashes and blanks of Windows-1252 that were decoded as something else; other bytes are no text."""
    if not 0x80 <= code < 0x100:
        return ""
    character = bytes([code]).decode("cp1252", "ignore")
    return made_plain(character) if character and character in "‘’“”–—•…\xa0‚„" else ""
