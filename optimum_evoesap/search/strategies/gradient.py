# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The gradient search: keep logits trained through the frozen model give counts and experts at once."""

from __future__ import annotations

from collections.abc import Mapping

from ...training_schedule import TrainingSchedule
from ..keep_logits import Logits, candidate_of, logits_of_order
from ..rounds import SEARCH, KeepLogits
from .guided import Guided
from .stepped import Steps
from .strategy import register_strategy
from .training_steps import affordable, windows_of


@register_strategy("gradient")
class Gradient(Guided):
    """Trains keep logits from the order, and scores the candidate that they make; nothing more.

    Args:
        space: The allowed allocations.
        order: Which experts of a layer go first.
        options: Sizes and seed of the search.
    """

    trains = True
    cost_range = (1.0, 1.0)

    @property
    def num_candidates(self) -> int:
        """The uniform one and what the logits make."""
        return 2

    def expected_windows(self, available: Mapping[str, int]) -> int:
        """Those two, and what is trained.

        Args:
            available: Windows of each kind of data.
        """
        return 2 * available[SEARCH] + windows_of(self._schedule, self.options)

    @property
    def _schedule(self) -> TrainingSchedule:
        return affordable(TrainingSchedule(), self.options)

    def steps(self) -> Steps[None]:
        """Training, then one score."""
        yield from self._try([self.uniform], "uniform")
        logits: Logits = yield KeepLogits(logits_of_order(self._now), self._schedule)
        yield from self._try([candidate_of(logits, self.space)], "keep logits")
