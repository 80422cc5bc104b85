"""The known name that a mistyped one probably means."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like `name`; empty where none is like it."""
    by_form = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), list(by_form), n=1, cutoff=0.6)
    longer = [form for form in by_form if len(name) > 2 and form.startswith(name.lower())]
    return next((by_form[form] for form in (*found, *longer)), "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean x?)` for a mistyped name; empty where no known name is like it."""
    found = nearest(name, known)
    return f" (did you mean `{found}`?)" if found else ""
