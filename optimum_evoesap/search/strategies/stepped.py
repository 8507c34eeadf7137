# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`SteppedStrategy`]: a strategy written as one function that asks, gets the answer, and goes on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ...options import EvoESAPOptions
from ..allocation import AllocationSpace
from ..candidate import Candidate
from ..keep_logits.logits import Logits
from ..rounds import KeepLogits, Round
from .strategy import Strategy


if TYPE_CHECKING:
    from ...calibration.criteria import PruningOrder
    from ...fitness.window_scores import WindowScores

Answer = TypeVar("Answer")
# What a step of a strategy is: it yields rounds, is sent the scores of their candidates as a dict, and returns what it
# found. Where it yields keep logits, it is sent those.
Steps = Generator["Round | KeepLogits", Any, Answer]


class SteppedStrategy(Strategy):
    """Runs `steps`, which yields a [`Round`] where it needs scores and gets them as a dict.

    Args:
        space: The allowed allocations.
        order: Which experts of a layer go first.
        options: Sizes and seed of the search.
    """

    def __init__(self, space: AllocationSpace, order: PruningOrder, options: EvoESAPOptions):
        super().__init__(space, order, options)
        self._steps: Steps[None] = self.steps()
        self._round: Round | KeepLogits | None = None
        self._answers: dict[Candidate, WindowScores] = {}

    @abstractmethod
    def steps(self) -> Steps[None]:
        """The whole search."""

    def ask(self) -> Round | KeepLogits | Sequence[Candidate]:
        """The round that `steps` waits for."""
        if self._round is None:
            self._round = self._next_round(None)
        return self._round

    def tell(self, candidate: Candidate, scores: WindowScores) -> None:
        """Keep the answer until the round is complete; then `steps` goes on, so that `best` is that of all answers.

        Args:
            candidate: One of the round.
            scores: What it scored on each window.
        """
        self._answers[candidate] = scores
        if isinstance(self._round, Round) and len(self._answers) == len(set(self._round.candidates)):
            answers, self._answers = self._answers, {}
            self._round = self._next_round(answers)

    def tell_logits(self, logits: Logits) -> None:
        """Go on with the keep logits that `steps` waits for.

        Args:
            logits: For each sparse layer a number for each expert.
        """
        self._round = self._next_round(logits)

    def _next_round(self, answers: dict[Candidate, WindowScores] | Logits | None) -> Round | KeepLogits:
        """The next round that is not empty; an empty one where `steps` is done."""
        try:
            asked = next(self._steps) if answers is None else self._steps.send(answers)
            while asked.is_empty:
                asked = self._steps.send({})
        except StopIteration:
            return Round(())
        return asked
