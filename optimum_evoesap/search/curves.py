# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Curves: what a model loses as more and more experts go from one layer while the others stay as they are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """Losses at some removed counts of one layer, with straight lines between them.

    Attributes:
        counts: Removed experts, ascending.
        losses: What each costs, against the point where the curve was measured.
    """

    counts: tuple[int, ...]
    losses: tuple[float, ...]

    @classmethod
    def through(cls, points: Mapping[int, float]) -> Curve:
        """The curve through some points.

        Args:
            points: Loss by removed count.
        """
        counts = tuple(sorted(points))
        return cls(counts, tuple(points[count] for count in counts))

    def table(self, unit: int = 1) -> dict[int, float]:
        """Loss by removed count, at every multiple of `unit` from the first to the last count."""
        return {count: self(count) for count in range(self.counts[0], self.counts[-1] + 1, unit)}

    def __call__(self, count: int) -> float:
        """The loss at a count between the first and the last."""
        place = min(bisect_right(self.counts, count), len(self.counts) - 1)
        low, high = max(place - 1, 0), place
        if self.counts[low] == self.counts[high]:
            return self.losses[low]
        share = (count - self.counts[low]) / (self.counts[high] - self.counts[low])
        return self.losses[low] + share * (self.losses[high] - self.losses[low])


def levels(most: int, unit: int, number: int) -> list[int]:
    """Removed counts to measure a curve at: about `number` of them, spread evenly, with `most` as the last.

    Args:
        most: Most experts that may go (a multiple of `unit`).
        unit: Experts that go together.
        number: How many counts.
    """
    steps = most // unit
    number = min(number, steps)
    return sorted({unit * round(steps * (place + 1) / number) for place in range(number)})
