# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The guided search from a point that gradients found."""

from __future__ import annotations

from collections.abc import Mapping

from ...training_schedule import TrainingSchedule
from ..keep_logits import Logits, candidate_of, logits_of_order, order_of
from ..rounds import KeepLogits
from .guided import Guided
from .stepped import Steps
from .strategy import register_strategy
from .training_steps import affordable, windows_of


# Of the limit of a search; the other half is for the steps that follow.
_SHARE = 0.5
_FIRST_STEP = 2


@register_strategy("gradient_guided")
class GradientGuided(Guided):
    """Trains keep logits in place of measuring curves: counts and order begin with what they say.

    Args:
        space: The allowed allocations.
        order: Which experts of a layer go first, for the logits to begin with.
        options: Sizes and seed of the search.
    """

    trains = True

    def expected_windows(self, available: Mapping[str, int]) -> int:
        """Those of the guided search, and what is trained.

        Args:
            available: Windows of each kind of data.
        """
        return super().expected_windows(available) + windows_of(self._schedule, self.options)

    @property
    def _schedule(self) -> TrainingSchedule:
        return affordable(TrainingSchedule(), self.options, _SHARE)

    def _begin(self) -> Steps[None]:
        logits: Logits = yield KeepLogits(logits_of_order(self._now), self._schedule)
        found = candidate_of(logits, self.space)
        yield from self._try([found], "keep logits")
        if self._best == found:
            self._now = order_of(logits, self.space)

    def _first_step(self) -> int:
        """Small: the counts are trained ones."""
        return min(_FIRST_STEP, super()._first_step())
