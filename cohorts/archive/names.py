"""File names as text that can be stored and shown: a file system takes any bytes, Arrow and terminals do not."""

from __future__ import annotations

import re

FOREIGN_BYTES = re.compile("[\udc80-\udcff]")  # how Python writes bytes of a name that are no UTF-8
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
ESCAPED = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}")


def escape_bytes(name: str) -> str:
    r"""A name with `\xff` for each byte that is no UTF-8. Any other name stays what it is.

    The escaped form names no file: no path with a backslash is ever opened.
    """
    escaped = FOREIGN_BYTES.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", name)
    return escaped.encode("utf-8", "backslashreplace").decode()


def is_escaped(name: str) -> bool:
    """Whether `escape_bytes` had something to escape in a name."""
    return ESCAPED.search(name) is not None


def on_one_line(text: str) -> str:
    r"""A text that can be printed as one line: line ends and other controls as `\n` and so on."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), escape_bytes(text))
