# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Comparisons of two candidates window by window: what is common to both drops out."""

from __future__ import annotations

import math
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
        mean: Difference of the means over all scored positions.
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
    gains, counts = _pairs(one, other)
    total = math.fsum(counts)
    mean = math.fsum(gains) / total
    if len(gains) < 2:
        return Difference(mean, math.inf)
    residuals = math.fsum((gain - mean * count) ** 2 for gain, count in zip(gains, counts))
    return Difference(mean, math.sqrt(residuals * len(gains) / (len(gains) - 1)) / total)


def paired_interval(
    one: WindowScores, other: WindowScores, seed: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of the difference of two candidates: windows are drawn again, with both their scores.

    Args:
        one: The candidate that is hoped to be better.
        other: The other one.
        seed: Of the draws.
        confidence: Share of the drawn differences that lie inside.
    """
    gains, counts = (np.array(each) for each in _pairs(one, other))
    draws = np.random.default_rng(seed).integers(len(gains), size=(_RESAMPLES, len(gains)))
    means = gains[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _pairs(one: WindowScores, other: WindowScores) -> tuple[list[float], list[int]]:
    pairs = [(a - b, count) for a, b, count in zip(one.sums, other.sums, one.counts) if count]
    return [gain for gain, _ in pairs], [count for _, count in pairs]
