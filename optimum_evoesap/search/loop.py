# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The loop of a search: it asks the strategy, scores what is new, keeps the scores, and shows how far it is."""

from __future__ import annotations

import time
from typing import Protocol

from tqdm.auto import tqdm

from ..fitness.window_scores import WindowScores
from .candidate import Candidate
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
    """Let a strategy ask until it is done.

    Args:
        strategy: Asks for candidates and is told their scores.
        scorer: Scores those that are not known.
        told: What is known; what is scored is added and kept.
        progress: Show a progress bar.
    """
    saved = time.monotonic()
    with tqdm(total=strategy.num_candidates, desc="search", unit="candidate", disable=not progress) as bar:
        while asked := strategy.ask():
            for candidate in asked:
                if candidate not in told:
                    told.add(candidate, scorer.score(candidate))
                    if time.monotonic() - saved > _SECONDS_BETWEEN_SAVES:
                        told.save(scorer.batch_size)
                        saved = time.monotonic()
                strategy.tell(candidate, told[candidate])
                bar.update()
            told.save(scorer.batch_size)
            best, uniform = (told[each].mean for each in (strategy.best, strategy.uniform))
            bar.set_postfix(best=f"{best:.4f}", uniform=f"{uniform:.4f}")
