# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The guided search, refined by gradients at its best point."""

from __future__ import annotations

from collections.abc import Mapping

from ...training_schedule import TrainingSchedule
from ..keep_logits import Logits, candidate_of, logits_of_candidate
from ..rounds import KeepLogits
from .guided import Guided
from .stepped import Steps
from .strategy import register_strategy
from .training_steps import affordable, windows_of


# Half of the usual length, and cooler from the start: it begins near the end.
_REFINEMENT = TrainingSchedule(num_tokens=512_000, temperature=0.3)


@register_strategy("guided_gradient")
class GuidedGradient(Guided):
    """Trains keep logits from the best point; what they make is taken only if it scores higher on all windows.

    Args:
        space: The allowed allocations.
        order: Which experts of a layer go first.
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
        return affordable(_REFINEMENT, self.options)

    def steps(self) -> Steps[None]:
        """The guided search, then training, then one score."""
        yield from super().steps()
        start = logits_of_candidate(self._best, self._now)
        logits: Logits = yield KeepLogits(start, self._schedule)
        yield from self._try([candidate_of(logits, self.space)], "keep logits")
