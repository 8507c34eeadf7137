# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Limits`]: how long a search may go on."""

from __future__ import annotations

import time

from ..options import EvoESAPOptions


# Of a sum of shares.
_ROUNDING = 1e-9


class LimitReached(Exception):
    """A limit of the search is reached; the message names it."""


class Limits:
    """Minutes and evaluations that a search may take, and rounds without a better candidate.

    Args:
        max_minutes: `None` for no limit.
        max_evaluations: Scores of one candidate on all search windows; on fewer of them a score counts in part. `None`
            for no limit.
        patience: Rounds, one after the other, in which new candidates of the budget get scores on all search windows
            and none of them is better than the best before. `None` for no limit.

    Attributes:
        evaluations: Those that were spent so far.
    """

    def __init__(
        self,
        max_minutes: float | None = None,
        max_evaluations: float | None = None,
        patience: int | None = None,
    ):
        self.max_minutes, self.max_evaluations, self.patience = max_minutes, max_evaluations, patience
        self.evaluations = 0.0
        self._rounds_in_vain = 0
        self._start = time.monotonic()

    @classmethod
    def of(cls, options: EvoESAPOptions) -> Limits:
        """The limits that a configuration gives.

        Args:
            options: The configuration.
        """
        return cls(options.max_minutes, options.max_evaluations, options.patience)

    def spend(self, evaluations: float) -> None:
        """Count what is about to be scored.

        Args:
            evaluations: How much that is.

        Raises:
            LimitReached: It is more than what is left.
        """
        after = self.evaluations + evaluations
        if self.max_evaluations is not None and after > self.max_evaluations + _ROUNDING:
            raise LimitReached(f"max_evaluations={self.max_evaluations:g} are used up")
        self.evaluations = after

    @property
    def seconds(self) -> float | None:
        """The minutes in seconds; `None` for no limit."""
        return None if self.max_minutes is None else 60 * self.max_minutes

    def cut(self, windows: int, search_windows: int) -> int:
        """So many windows, or as many as the evaluations allow.

        Args:
            windows: How many candidates would be scored on, summed over the candidates.
            search_windows: Those of one evaluation.
        """
        return windows if self.max_evaluations is None else min(windows, round(self.max_evaluations * search_windows))

    def add_seconds(self, seconds: float) -> None:
        """Count the time that a killed run has spent on what it left.

        Args:
            seconds: How much that is.
        """
        self._start -= seconds

    def check_time(self) -> None:
        """Check the clock.

        Raises:
            LimitReached: The minutes have passed.
        """
        if self.max_minutes is not None and time.monotonic() - self._start >= 60 * self.max_minutes:
            raise LimitReached(f"max_minutes={self.max_minutes:g} have passed")

    def end_round(self, is_better: bool) -> None:
        """Count a round in which a better candidate could be found.

        Args:
            is_better: Whether one was found.

        Raises:
            LimitReached: None was found for too many rounds.
        """
        self._rounds_in_vain = 0 if is_better else self._rounds_in_vain + 1
        if self.patience is not None and self._rounds_in_vain >= self.patience:
            raise LimitReached(f"patience={self.patience}: so many rounds have passed without a better candidate")
