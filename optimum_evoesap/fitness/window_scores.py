# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`WindowScores`]: what one candidate scored on each window of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WindowScores:
    """The fitness of a candidate, window by window, so that candidates can be compared in pairs of equal windows.

    Attributes:
        sums: Sum of the fitness over the scored positions of each window.
        counts: Scored positions of each window.
    """

    sums: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean fitness over all scored positions; higher is better."""
        return math.fsum(self.sums) / sum(self.counts)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.sums)

    def __add__(self, later: WindowScores) -> WindowScores:
        """These windows and then those of `later`."""
        return WindowScores(self.sums + later.sums, self.counts + later.counts)

    def first(self, num_windows: int) -> WindowScores:
        """The scores on the first windows alone."""
        return WindowScores(self.sums[:num_windows], self.counts[:num_windows])

    def to_json(self) -> dict[str, Any]:
        """Plain lists; JSON keeps every bit of a float."""
        return {"sums": list(self.sums), "counts": list(self.counts)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> WindowScores:
        """What `to_json` gave.

        Raises:
            ValueError: Sums and counts are not of the same windows.
        """
        scores = cls(tuple(map(float, content["sums"])), tuple(map(int, content["counts"])))
        if len(scores.sums) != len(scores.counts):
            raise ValueError(f"there are {len(scores.sums)} sums and {len(scores.counts)} counts of windows")
        return scores
