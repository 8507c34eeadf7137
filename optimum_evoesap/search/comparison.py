# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Comparisons of two candidates window by window: what is common to both drops out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    from ..fitness.window_scores import WindowScores

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """How much higher one candidate scores than another on the same windows.

    Attributes:
        mean: Difference of the means over all scored positions, or of those of the worst domains where they count.
        error: Its standard error, from the differences of the windows; infinite with fewer than two of them.
    """

    mean: float
    error: float

    @property
    def is_clear(self) -> bool:
        """Whether it is positive by more than its standard error."""
        return self.mean > self.error


def difference(one: WindowScores, other: WindowScores) -> Difference:
    """Compare two candidates on the windows that both have scores on.

    Args:
        one: The candidate that is hoped to be better.
        other: The other one.
    """
    both = min(len(one), len(other))
    one, other = one.first(both).counted, other.first(both).counted
    number = sum(1 for counts in zip(one.counts, other.counts) if any(counts))
    mean = one.mean - other.mean
    if number < 2:
        return Difference(mean, math.inf)
    residuals = math.fsum((a - b) ** 2 for a, b in zip(_residuals(one), _residuals(other)))
    return Difference(mean, math.sqrt(residuals * number / (number - 1)))


def paired_interval(
    one: WindowScores, other: WindowScores, seed: int, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Bootstrap interval of the difference of two candidates: windows are drawn again, with both their scores.

    Where the worst domain is what counts, as many windows of each domain are drawn as there are. `None` where there is
    only one window, or one of a domain that counts: it says nothing of how far others may differ.

    Args:
        one: The candidate that is hoped to be better.
        other: The other one.
        seed: Of the draws.
        confidence: Share of the drawn differences that lie inside.
    """
    generator = np.random.default_rng(seed)
    by_domain = _windows_by_domain(one)
    if min(map(len, by_domain)) < 2:
        return None
    means = np.array([_drawn_means((one, other), windows, generator) for windows in by_domain])
    better, worse = means.min(axis=0)
    low, high = np.quantile(better - worse, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _residuals(scores: WindowScores) -> list[float]:
    """What each window adds to the error of the mean."""
    mean, total = scores.mean, sum(scores.counts)
    return [(value - mean * count) / total for value, count in zip(scores.sums, scores.counts)]


def _windows_by_domain(scores: WindowScores) -> list[np.ndarray]:
    domains = scores.domains or ("",) * len(scores)
    places = {
        domain: [place for place, count in enumerate(scores.counts) if count and domains[place] == domain]
        for domain in dict.fromkeys(domains)
    }
    return [np.array(each) for each in places.values() if each]


def _drawn_means(
    both: Sequence[WindowScores], windows: np.ndarray, generator: np.random.Generator
) -> list[np.ndarray]:
    """Means of each candidate over the same draws of windows."""
    draws = windows[generator.integers(len(windows), size=(_RESAMPLES, len(windows)))]
    totals = np.array(both[0].counts)[draws].sum(axis=1)
    return [np.array(scores.sums)[draws].sum(axis=1) / totals for scores in both]
