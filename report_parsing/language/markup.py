r"""Marks of other formats in the text of a report: HTML, Markdown's emphasis, HL7's escapes, escapes of strings.

<br>  </p>  <h2>  <td>  \.br\  \X0A\  \n     a line end
<b>Findings</b>  __Findings__  *Findings*    emphasis, always written **Findings**
&nbsp;  &lt;  &#39;                          the character
"""

from __future__ import annotations

import html
import re
from functools import lru_cache

from report_parsing.language.characters import made_plain

EMPHASIS = "**"
_BLOCKS = "br|p|div|h[1-6]|li|ul|ol|dl|dt|dd|tr|td|th|table|tbody|thead|pre|hr|section|article|body|html|blockquote"
_STRONG = "b|strong|em|i|u"
_PLAIN = "span|font|small|big|sup|sub|center|a|code|o:p"
# What a mark looks like behind its first character; `[**name**]` is a removed identifier, and so are three `_`.
MARKUP = rf"""
    (?<=<) (?i: /?+ (?: (?P<block> (?:{_BLOCKS}) ) | (?P<strong> (?:{_STRONG}) ) | (?:{_PLAIN}) )
                (?: [ /] [^<>]{{0,200}}+ )?+ > )
  | (?<=&) (?P<entity> [A-Za-z]{{2,8}}+ ; | \#\d{{1,6}}+ ; | \#[xX][0-9A-Fa-f]{{1,5}}+ ; )
  | (?<=\\) (?: (?P<break> \.(?:br|sp)\d{{0,2}}\\ | X0[AaDd]\\ | r\\n | [nr] ) | (?P<tab> t )
              | \.[a-z]{{2}}[+-]?\d{{0,2}}\\ | [HN]\\ )
  | (?P<opens> (?<![\w*\[].) (?: (?<=\*) \*{{0,2}} (?=[^\W_]|[("]) (?=[^\n*]*(?:\*|\Z))
                             | (?<=_) _? (?=[^\W_]|[("]) (?=[^\n_]*(?:_|\Z)) ) )
  | (?P<closes> (?: (?<=[^\W_]\*)|(?<=[^\W_]_)|(?<=[:.,;!?)"%][*_]) )
                (?: (?<=\*)\*{{0,2}} | (?<=_)_? ) (?![\w*\]]) )"""


def read_markup(match: re.Match[str], emphasis: bool) -> str:
    """What a match of MARKUP stands for; `emphasis` keeps what is emphasised between EMPHASIS."""
    kind = match.lastgroup
    if kind in ("block", "break"):
        return "\n"
    if kind == "tab":
        return " "
    if kind == "entity":
        return _read_entity(match[0])
    return EMPHASIS if emphasis and kind in ("strong", "opens", "closes") else ""


@lru_cache(maxsize=1000)
def _read_entity(written: str) -> str:
    read = html.unescape(written)
    return read if read == written else "".join(map(made_plain, read))
