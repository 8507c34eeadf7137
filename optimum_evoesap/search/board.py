# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ScoreBoard`]: the scores of candidates on some data; what is not known is scored, what was scored is kept."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from ..fitness.window_scores import WindowScores
from .candidate import Candidate
from .told_scores import ToldScores


class Scorer(Protocol):
    """What scores candidates, see [`~fitness.slices.SliceScorer`]."""

    @property
    def batch_size(self) -> int:
        """Windows in one forward pass."""

    @property
    def num_windows(self) -> int:
        """Windows of the data."""

    def forget(self) -> None:
        """Let go of what it holds; nothing can be scored any more."""

    def whole_batches(self, num_windows: int | None) -> int:
        """So many windows, rounded up to whole batches; all of them for `None`."""

    def score_each(
        self,
        candidates: Sequence[Candidate],
        scored: Callable[[dict[int, WindowScores]], None],
        first: int = 0,
        stop: int | None = None,
        skip: Collection[int] = (),
    ) -> None:
        """Score candidates on some windows.

        Args:
            candidates: The candidates.
            scored: Called with the scores of some of them, by number, as they are done.
            first: The first window.
            stop: The window after the last one; by default that of the data.
            skip: Numbers of candidates whose scores are known.
        """


class ScoreBoard:
    """Scores candidates, and keeps what is known of them from time to time: within a round, and after it.

    What was scored last is kept by `save`, to be called at the end.

    Args:
        scorer: Scores those that are not known.
        told: What is known; what is scored is added and kept.
        domains: Domain of each window, where the worst of them is what counts.
    """

    def __init__(self, scorer: Scorer, told: ToldScores, domains: Sequence[str] = ()):
        self.scorer, self.told, self._domains = scorer, told, domains
        # Windows on which candidates have been asked for in this run. Which of them are scored together follows from
        # this alone, so that a run that goes on scores the same ones together and finds the same bits.
        self._asked: dict[Candidate, int] = {}
        # Since when the scores of a round are made, and what it took to make others that are not kept yet.
        self._since, self._seconds = 0.0, 0.0

    def num_new(self, candidates: Sequence[Candidate], num_windows: int | None = None) -> int:
        """Windows on which candidates have not been asked for yet in this run, summed over the candidates.

        Args:
            candidates: The candidates.
            num_windows: So many windows, rounded up to whole batches; all of them for `None`.
        """
        stop = self.scorer.whole_batches(num_windows)
        return sum(max(0, stop - self._asked.get(one, 0)) for one in candidates)

    def are_known(self, candidates: Sequence[Candidate], num_windows: int | None = None) -> bool:
        """Whether nothing of these candidates has to be scored, since an earlier run has left it.

        Args:
            candidates: The candidates.
            num_windows: So many windows, rounded up to whole batches; all of them for `None`.
        """
        stop = self.scorer.whole_batches(num_windows)
        return all(self.told.num_windows(one) >= stop for one in candidates)

    def value(self, candidate: Candidate) -> float | None:
        """What a candidate is worth on all windows; `None` where it has no scores on some of them."""
        if not self.are_known([candidate]):
            return None
        return self.told[candidate].by_worst(self._domains).value

    def score(
        self,
        candidates: Sequence[Candidate],
        num_windows: int | None = None,
        after: Callable[[int], None] = lambda count: None,
    ) -> list[WindowScores]:
        """The scores of candidates on the first windows.

        Args:
            candidates: The candidates.
            num_windows: So many windows, rounded up to whole batches; all of them for `None`.
            after: Called as candidates are scored, with the windows of them that were, summed over the candidates.
        """
        stop = self.scorer.whole_batches(num_windows)
        self._since = time.monotonic()
        new: dict[int, list[Candidate]] = defaultdict(list)
        for candidate in dict.fromkeys(candidates):
            if self._asked.get(candidate, 0) < stop:
                new[self._asked.get(candidate, 0)].append(candidate)
        try:
            for first, group in sorted(new.items()):
                self._score_group(group, first, stop, after)
        except BaseException:
            self._count_seconds()
            self.save()
            raise
        self._count_seconds()
        if self.told.is_affordable:
            self.save()
        self._asked |= {one: max(stop, self._asked.get(one, 0)) for one in candidates}
        return [self.told[one].first(stop).by_worst(self._domains) for one in candidates]

    def save(self) -> None:
        """Keep what was scored since the last time."""
        self.told.save(self.scorer.batch_size, self._seconds)
        self._seconds = 0.0

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self._seconds, self._since = self._seconds + now - self._since, now

    def _score_group(self, group: list[Candidate], first: int, stop: int, after: Callable[[int], None]) -> None:
        known = {number for number, one in enumerate(group) if self.told.num_windows(one) >= stop}

        def scored(found: Mapping[int, WindowScores]) -> None:
            for number, scores in found.items():
                self.told.add(group[number], scores, first)
            if self.told.is_due:
                self._count_seconds()
                self.save()
            after(len(found) * (stop - first))

        self.scorer.score_each(group, scored, first, stop, known)
