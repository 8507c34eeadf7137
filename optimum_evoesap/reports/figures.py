# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The figures of a [`PruningResult`], as the model card and the terminal both show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .text import change, interval, score, short_bytes, short_count


_SIZE_FORMS: tuple[Callable[[int], str], ...] = (str, short_count, short_bytes)


def size_rows(sizes: Sequence[Mapping[str, int]], names: Sequence[str]) -> list[list[str]]:
    """Name, before, after and change of each size that is known before and after.

    Args:
        sizes: `before` and `after` of the routed experts, the parameters and the bytes.
        names: What these three are called.
    """
    return [
        [name, form(size["before"]), form(size["after"]), change(size["after"] / size["before"] - 1)]
        for name, size, form in zip(names, sizes, _SIZE_FORMS)
        if size.get("before") and "after" in size
    ]


def score_rows(scores: Mapping[str, float], names: Sequence[str]) -> list[list[str]]:
    """Name, score of this allocation and of the uniform one, for the data that there are scores on.

    Where an allocation was found and not taken, its score is the last one.

    Args:
        scores: By name, as in [`PruningResult`].
        names: What the search data and the held-out data are called.
    """
    columns = ["best", "uniform", *(["found"] if "found" in scores else [])]
    rows = [[name, *(f"{data}{column}" for column in columns)] for name, data in zip(names, ("", "holdout_"))]
    return [
        [name, *(score(scores[key]) if key in scores else "not measured" for key in keys)]
        for name, *keys in rows
        if scores.keys() & set(keys)
    ]


def domain_rows(domains: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[list[str]]:
    """Name, score of this allocation, of the uniform one and of one that was not taken, and difference, by domain.

    Args:
        domains: As in [`PruningResult`].
        names: What each of them is called.
    """
    return [
        [name, *(score(each[key]) for key in ("best", "uniform", "found") if key in each), interval(each["interval"])]
        for name, each in zip(names, domains.values())
    ]


def bar(kept: int, total: int, width: float, full: str, empty: str) -> str:
    """A bar for the kept experts of a layer.

    Args:
        kept: Experts that the layer keeps.
        total: Experts that it had.
        width: Length of the bar of all of them, in characters.
        full: Character for what is kept.
        empty: Character for what is removed.
    """
    filled = round(width * kept / total)
    return full * filled + empty * (round(width) - filled)
