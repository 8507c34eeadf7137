# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Round`]: what a strategy wants to know at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .candidate import Candidate


# The data that candidates can be scored on: those of the search, and the broader ones of the calibration.
SEARCH, CALIBRATION = "search", "calibration"


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


def as_round(asked: Round | Sequence[Candidate]) -> Round:
    """What a strategy asked for; candidates alone are scored on all search data."""
    return asked if isinstance(asked, Round) else Round(tuple(asked))
