# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What strategies that train keep logits have in common: a schedule that a limit has room for, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...options import EvoESAPOptions
from ..candidate import Candidate
from ..keep_logits.logits import Logits, candidate_of
from ..keep_logits.schedule import FORWARDS_A_STEP, TrainingSchedule
from ..rounds import KeepLogits
from .guided import Guided
from .stepped import Steps


# Evaluations that are always needed.
_UNIFORM_AND_BEST = 2
_FEWEST_STEPS = 100


class TrainingSearch(Guided):
    """A guided search, or a part of one, that also trains keep logits once.

    Attributes:
        planned: How long they are trained where no limit cuts it.
        share: Share of the limit of the search that training may take.
    """

    trains = True
    planned = TrainingSchedule()
    share = 1.0

    @property
    def schedule(self) -> TrainingSchedule:
        """How long they are trained."""
        return affordable(self.planned, self.options, self.share)

    def expected_windows(self, available: Mapping[str, int]) -> int:
        """Those of the guided search, and what is trained.

        Args:
            available: Windows of each kind of data.
        """
        return super().expected_windows(available) + windows_of(self.schedule, self.options)

    def _try_trained(self, start: Logits) -> Steps[tuple[Candidate, Logits]]:
        """Train from some logits, and score the candidate that they make."""
        logits: Logits = yield KeepLogits(start, self.schedule)
        found = candidate_of(logits, self.space)
        yield from self._try([found], "keep logits")
        return found, logits


def affordable(schedule: TrainingSchedule, options: EvoESAPOptions, share: float = 1.0) -> TrainingSchedule:
    """A schedule, shorter where `max_evaluations` leaves no room for all of it.

    Args:
        schedule: How long it would be trained without a limit.
        options: The limit, and what an evaluation is.
        share: Share of the limit that training may take.
    """
    if options.max_evaluations is None:
        return schedule
    tokens = options.search_samples * options.sequence_length
    room = int(share * max(0, options.max_evaluations - _UNIFORM_AND_BEST) * tokens / FORWARDS_A_STEP)
    if room >= schedule.num_tokens:
        return schedule
    # Many small steps find more than few large ones.
    a_step = min(schedule.tokens_a_step, max(options.sequence_length, room // _FEWEST_STEPS))
    # Whole steps, and one less for what the last batches hold beyond theirs.
    return replace(schedule, num_tokens=max(1, room // a_step - 1) * a_step, tokens_a_step=a_step)


def windows_of(schedule: TrainingSchedule, options: EvoESAPOptions) -> int:
    """About how many windows go through the model, counted as forward passes.

    Args:
        schedule: How long is trained.
        options: How long a window is.
    """
    return round(FORWARDS_A_STEP * schedule.num_tokens / options.sequence_length)
