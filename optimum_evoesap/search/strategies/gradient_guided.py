# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The guided search from a point that gradients found."""

from __future__ import annotations

from ..keep_logits.logits import logits_of_order, order_of
from .stepped import Steps
from .strategy import register_strategy
from .training_steps import TrainingSearch


_FIRST_STEP = 2


@register_strategy("gradient_guided")
class GradientGuided(TrainingSearch):
    """Trains keep logits in place of measuring curves: counts and order begin with what they say.

    Args:
        space: The allowed allocations.
        order: Which experts of a layer go first, for the logits to begin with.
        options: Sizes and seed of the search.
    """

    # The other half is for the steps that follow.
    share = 0.5

    def _begin(self) -> Steps[None]:
        found, logits = yield from self._try_trained(logits_of_order(self._now))
        if self._best == found:
            self._now = order_of(logits, self.space)

    def _first_step(self) -> int:
        """Small: the counts are trained ones."""
        return min(_FIRST_STEP, super()._first_step())
