# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Round`] and [`KeepLogits`]: what a strategy wants to know at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .candidate import Candidate
from .keep_logits.logits import Logits
from .keep_logits.schedule import TrainingSchedule


# The data that candidates can be scored on: those of the search, and the broader ones of the calibration.
SEARCH, CALIBRATION = "search", "calibration"
# Those that no round may name: what was found is compared with the uniform allocation on them.
HELD_OUT = "heldout"


@dataclass(frozen=True)
class Round:
    """Candidates whose scores are needed now.

    Attributes:
        candidates: None twice. They may remove more or fewer experts than the budget, to learn from; what a strategy
            calls its best must not.
        num_windows: Windows that they are scored on, the first of the data, rounded up to whole batches; all of them
            for `None`.
        data: `search` or `calibration`.
    """

    candidates: Sequence[Candidate]
    num_windows: int | None = None
    data: str = SEARCH

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for: the search is done."""
        return not self.candidates


@dataclass(frozen=True)
class KeepLogits:
    """Keep logits that are needed now: trained through the frozen model on the calibration data, within the budget.

    They come as plain numbers to `tell_logits` of the strategy, and [`~search.keep_logits.logits.candidate_of`] makes
    a candidate of them. A strategy that asks for them says so by `trains = True`.

    Attributes:
        start: Those to begin with, for each sparse layer a number for each expert.
        schedule: How long, and how boldly, they are trained.
    """

    start: Logits
    schedule: TrainingSchedule = field(default_factory=TrainingSchedule)

    @property
    def is_empty(self) -> bool:
        """Something is asked for."""
        return False

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        start = {str(layer): list(map(float, values)) for layer, values in self.start.items()}
        return {"start": start, "schedule": self.schedule.to_json()}


def as_round(asked: Round | KeepLogits | Sequence[Candidate]) -> Round | KeepLogits:
    """What a strategy asked for; candidates alone are scored on all search data."""
    return asked if isinstance(asked, (Round, KeepLogits)) else Round(tuple(asked))
