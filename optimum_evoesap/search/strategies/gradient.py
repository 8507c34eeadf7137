# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The gradient search: keep logits trained through the frozen model give counts and experts at once."""

from __future__ import annotations

from ...training_schedule import TrainingSchedule
from ..keep_logits import Logits, candidate_of, logits_of_order
from ..rounds import KeepLogits
from .guided import Guided
from .stepped import Steps
from .strategy import register_strategy
from .training_steps import affordable


@register_strategy("gradient")
class Gradient(Guided):
    """Trains keep logits from the order, and scores the candidate that they make; nothing more.

    Args:
        space: The allowed allocations.
        order: Which experts of a layer go first.
        options: Sizes and seed of the search.
    """

    trains = True

    @property
    def num_candidates(self) -> int:
        """The uniform one and what the logits make."""
        return 2

    def steps(self) -> Steps[None]:
        """Training, then one score."""
        yield from self._try([self.uniform], "uniform")
        logits: Logits = yield KeepLogits(logits_of_order(self._now), affordable(TrainingSchedule(), self.options))
        yield from self._try([candidate_of(logits, self.space)], "keep logits")
