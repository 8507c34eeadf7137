# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The guided search, refined by gradients at its best point."""

from __future__ import annotations

from ..keep_logits.logits import logits_of_candidate
from ..keep_logits.schedule import TrainingSchedule
from .stepped import Steps
from .strategy import register_strategy
from .training_steps import TrainingSearch


@register_strategy("guided_gradient")
class GuidedGradient(TrainingSearch):
    """Trains keep logits from the best point; what they make is taken only if it scores higher on all windows.

    Args:
        space: The allowed allocations.
        order: Which experts of a layer go first.
        options: Sizes and seed of the search.
    """

    # Half of the usual length, and cooler from the start: it begins near the end.
    planned = TrainingSchedule(num_tokens=512_000, temperature=0.3)

    def steps(self) -> Steps[None]:
        """The guided search, then training, then one score."""
        yield from super().steps()
        yield from self._try_trained(logits_of_candidate(self._best, self._now))
