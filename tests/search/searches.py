# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Spaces of allocations, and searches by the real loop whose scores are a function of the allocation."""

from __future__ import annotations

from hypothesis import strategies as st

from optimum_evoesap.fitness.window_scores import WindowScores
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.board import ScoreBoard
from optimum_evoesap.search.loop import run_search
from optimum_evoesap.search.strategies import Evolution
from optimum_evoesap.search.told_scores import ToldScores


class Scorer:
    """Scores a candidate on each window by a function of its allocation, or of itself."""

    batch_size = 1

    def __init__(self, space, evaluate, num_windows=1, of_candidate=False):
        self.space, self.evaluate, self.num_windows, self.of_candidate = space, evaluate, num_windows, of_candidate
        self.scores, self.passes = {}, []

    def allocation(self, candidate):
        return tuple(candidate.removed(self.space.num_experts))

    def whole_batches(self, num_windows):
        return self.num_windows if num_windows is None else min(num_windows, self.num_windows)

    def score_each(self, candidates, scored, first=0, stop=None, skip=()):
        stop = self.num_windows if stop is None else stop
        for number, candidate in enumerate(candidates):
            if number not in skip:
                scored({number: self.score(candidate, first, stop)})

    def score(self, candidate, first, stop):
        which = candidate if self.of_candidate else self.allocation(candidate)
        assert (candidate, first) not in self.passes, "no candidate is scored twice on a window"
        self.passes.append((candidate, first))
        value = self.evaluate(which)
        values = tuple(map(float, value)) if isinstance(value, (tuple, list)) else (float(value),) * self.num_windows
        self.scores[which] = values[0] if self.num_windows == 1 else values
        return WindowScores(values[first:stop], (1,) * (stop - first))


def boards_of(scorer, told=None, calibration=None):
    """The score boards of a search with such scorers."""
    boards = {"search": ScoreBoard(scorer, told or ToldScores())}
    boards["calibration"] = ScoreBoard(calibration, ToldScores()) if calibration else boards["search"]
    return boards


def make_evolution(space, options):
    order = {layer: list(range(total)) for layer, total in zip(space.layers, space.num_experts)}
    return Evolution(space, order, options)


def evolve(evaluate, space, options, told=None):
    """A search by the real loop: the strategy, with what it found, and the scores that were made for it."""
    strategy, scorer = make_evolution(space, options), Scorer(space, evaluate)
    run_search(strategy, boards_of(scorer, told), progress=False)
    return strategy, scorer.scores


@st.composite
def spaces(draw):
    unit = draw(st.sampled_from([1, 1, 2, 4]))
    num_experts = [unit * draw(st.integers(2, 16)) for _ in range(draw(st.integers(1, 8)))]
    min_kept = [draw(st.integers(1, total - unit)) for total in num_experts]
    budget = unit * draw(st.integers(1, sum((total - kept) // unit for total, kept in zip(num_experts, min_kept))))
    space = AllocationSpace.from_limits(num_experts, min_kept, budget, unit)
    return space


def is_inside(allocation, space):
    return (
        sum(allocation) == space.budget
        and len(allocation) == len(space.max_removed)
        and all(0 <= count <= limit and count % space.unit == 0 for count, limit in zip(allocation, space.max_removed))
    )


def moved(one, other):
    """Experts that go from other layers, where the budgets are equal."""
    return sum(abs(a - b) for a, b in zip(one, other)) // 2
