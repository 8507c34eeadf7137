# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The gradient search: keep logits trained through the frozen model give counts and experts at once."""

from __future__ import annotations

from collections.abc import Mapping

from ..keep_logits.logits import logits_of_order
from ..rounds import SEARCH
from .stepped import Steps
from .strategy import register_strategy
from .training_steps import TrainingSearch, windows_of


@register_strategy("gradient")
class Gradient(TrainingSearch):
    """Trains keep logits from the order, and scores the candidate that they make; nothing more.

    Args:
        space: The allowed allocations.
        order: Which experts of a layer go first.
        options: Sizes and seed of the search.
    """

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
        return self.num_candidates * available[SEARCH] + windows_of(self.schedule, self.options)

    def steps(self) -> Steps[None]:
        """Training, then one score."""
        yield from self._try([self.uniform], "uniform")
        yield from self._try_trained(logits_of_order(self._now))
