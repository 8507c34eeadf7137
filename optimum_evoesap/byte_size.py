# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Sizes in bytes as users write them."""

from __future__ import annotations

import re
from fractions import Fraction


_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)}
_UNITS |= {f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", start=1)}


def parse_size(text: str | int) -> int:
    """A size in bytes.

    Args:
        text: A number of bytes, or a number with a unit: `24GB` is 24 * 10**9, `24GiB` 24 * 2**30; `kB`, `MB`, `TB`,
            `KiB`, `MiB`, `TiB` likewise.

    Raises:
        ValueError: It is no size above 0.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", str(text))
    unit = _UNITS.get(match[2].upper()) if match and not isinstance(text, (bool, float)) else None
    size = int(Fraction(match[1]) * unit) if match and unit else 0
    if size < 1:
        raise ValueError(
            f"{text!r} is no size: write bytes as a whole number, or a number with a unit, such as 24GB (24 * 10**9 "
            "bytes), 24GiB (24 * 2**30), 500MB or 1.5TB."
        )
    return size
