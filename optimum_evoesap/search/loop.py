# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The loop of a search: it asks the strategy, scores what is new, keeps the scores, and shows how far it is."""

from __future__ import annotations

import time
from typing import Protocol

from tqdm.auto import tqdm

from ..fitness.window_scores import WindowScores
from .candidate import Candidate, check_candidate
from .strategies import Strategy
from .told_scores import ToldScores


# Candidates of a large model take minutes a generation; what was scored is kept more often than that.
_SECONDS_BETWEEN_SAVES = 30.0


class Scorer(Protocol):
    """What scores candidates, see [`~search.scoring.CandidateScorer`]."""

    @property
    def batch_size(self) -> int:
        """Windows in one forward pass."""

    def score(self, candidate: Candidate) -> WindowScores:
        """What a candidate scores on each window."""


def run_search(strategy: Strategy, scorer: Scorer, told: ToldScores, progress: bool = True) -> None:
    """Let a strategy ask until it is done. The uniform allocation is scored in any case, and first.

    Args:
        strategy: Asks for candidates and is told their scores.
        scorer: Scores those that are not known.
        told: What is known; what is scored is added and kept.
        progress: Show a progress bar.

    Raises:
        ValueError: The strategy asks for a candidate that its space does not allow, or its best one has no score.
    """
    known = _KnownScores(told, scorer)
    with tqdm(total=strategy.num_candidates, desc="search", unit="candidate", disable=not progress) as bar:
        known.score(strategy.uniform)
        while asked := strategy.ask():
            for candidate in asked:
                _check(candidate, strategy)
            for candidate in asked:
                known.score(candidate)
                strategy.tell(candidate, told[candidate])
                bar.update()
            told.save(scorer.batch_size)
            if strategy.best in told:
                means = {"best": told[strategy.best].mean, "uniform": told[strategy.uniform].mean}
                bar.set_postfix({name: f"{mean:.4f}" for name, mean in means.items()})
    if strategy.best not in told:
        raise ValueError(f"The best candidate of {type(strategy).__name__} has no score: it never asked for it.")


class _KnownScores:
    """Scores what is not known yet, and keeps what is known from time to time."""

    def __init__(self, told: ToldScores, scorer: Scorer):
        self._told, self._scorer = told, scorer
        self._last = time.monotonic()

    def score(self, candidate: Candidate) -> None:
        if candidate in self._told:
            return
        self._told.add(candidate, self._scorer.score(candidate))
        if time.monotonic() - self._last > _SECONDS_BETWEEN_SAVES:
            self._told.save(self._scorer.batch_size)
            self._last = time.monotonic()


def _check(candidate: Candidate, strategy: Strategy) -> None:
    try:
        check_candidate(candidate, strategy.space)
    except ValueError as error:
        raise ValueError(f"The strategy {type(strategy).__name__} asks for a wrong candidate: {error}") from error
