# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What messages say of a wrong value: the value in short, and what the user may have meant."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, if any is much like it; one that begins with it is.

    Args:
        name: What the user wrote.
        known: The names that there are.
    """
    by_lower = {each.lower(): each for each in known}
    lower = str(name).lower()
    found = difflib.get_close_matches(lower, by_lower, n=1)
    found = found or [each for each in by_lower if len(lower) > 2 and each.startswith(lower)]
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str], remedy: str = "") -> str:
    """What to do about a name that there is not: first a question, where a known name is much like it.

    Args:
        name: What the user wrote.
        known: The names that there are.
        remedy: What is said in any case.
    """
    found = closest(name, known)
    return remedy if found is None else f"did you mean {found!r}? {remedy[:1].upper()}{remedy[1:]}".strip()


def shown(value: Any) -> str:
    """A value as a message shows it: not all of it where it is long.

    Args:
        value: Any value.
    """
    return _SHORT.repr(value)
