# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`WindowScores`]: what one candidate scored on each window of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class WindowScores:
    """The fitness of a candidate, window by window, so that candidates can be compared in pairs of equal windows.

    Attributes:
        sums: Sum of the fitness over the scored positions of each window.
        counts: Scored positions of each window.
        domains: Domain of each window where the worst of them is what counts; otherwise empty. Not kept in JSON.
    """

    sums: tuple[float, ...]
    counts: tuple[int, ...]
    domains: tuple[str, ...] = ()

    @property
    def mean(self) -> float:
        """Mean fitness over all scored positions; higher is better."""
        return math.fsum(self.sums) / sum(self.counts)

    @property
    def value(self) -> float:
        """What a search maximises: the mean, or with `domains` that of the domain with the lowest one."""
        return self.counted.mean

    @property
    def counted(self) -> WindowScores:
        """The scores that `value` is the mean of; windows of other domains have sums and counts of 0."""
        domains = [self.of_domain(self.domains, domain) for domain in dict.fromkeys(self.domains)]
        return min((each for each in domains if any(each.counts)), key=lambda each: each.mean, default=self)

    def of_domain(self, domains: Sequence[str], domain: str) -> WindowScores:
        """The scores of one domain; other windows stay in their places, with sums and counts of 0.

        Args:
            domains: Domain of each window.
            domain: One of them.
        """
        sums = tuple(value if each == domain else 0.0 for value, each in zip(self.sums, domains))
        return WindowScores(sums, tuple(count if each == domain else 0 for count, each in zip(self.counts, domains)))

    def by_worst(self, domains: Sequence[str]) -> WindowScores:
        """The same scores, of which the worst domain is what counts.

        Args:
            domains: Domain of each window, and perhaps of more; none: the mean is what counts.
        """
        return replace(self, domains=tuple(domains[: len(self)]))

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.sums)

    def __add__(self, later: WindowScores) -> WindowScores:
        """These windows and then those of `later`."""
        return WindowScores(self.sums + later.sums, self.counts + later.counts, self.domains + later.domains)

    def first(self, num_windows: int) -> WindowScores:
        """The scores on the first windows alone."""
        return WindowScores(self.sums[:num_windows], self.counts[:num_windows], self.domains[:num_windows])

    def to_json(self) -> dict[str, Any]:
        """Plain lists of sums and counts; JSON keeps every bit of a float."""
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
