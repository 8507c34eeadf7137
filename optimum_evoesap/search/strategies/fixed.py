# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""An allocation that is not searched: the uniform one, or the user's own. It is scored, next to the uniform one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...options import EvoESAPOptions
from ..allocation import Allocation, AllocationSpace
from ..candidate import Candidate
from .strategy import Strategy


if TYPE_CHECKING:
    from ...calibration.criteria import PruningOrder
    from ...fitness.window_scores import WindowScores


class FixedAllocation(Strategy):
    """Asks once, for one allocation; the loop scores the uniform one.

    Args:
        space: The allowed allocations.
        order: Which experts of a layer go first.
        options: As for every strategy.
        allocation: The allocation.
    """

    def __init__(self, space: AllocationSpace, order: PruningOrder, options: EvoESAPOptions, allocation: Allocation):
        super().__init__(space, order, options)
        self._best = self.candidate(allocation)
        self._left = [self._best]

    def ask(self) -> list[Candidate]:
        """The allocation, until it has scores."""
        return list(self._left)

    def tell(self, candidate: Candidate, scores: WindowScores) -> None:
        """Nothing follows from the scores.

        Args:
            candidate: That of the allocation.
            scores: What it scored.
        """
        self._left.remove(candidate)

    @property
    def best(self) -> Candidate:
        """The allocation that was given."""
        return self._best

    @property
    def num_candidates(self) -> int:
        """One."""
        return 1
