# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Spaces of allocations, and searches by the real loop whose scores are a function of the allocation."""

from __future__ import annotations

from hypothesis import strategies as st

from optimum_evoesap.fitness.window_scores import WindowScores
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.loop import run_search
from optimum_evoesap.search.strategies import Evolution
from optimum_evoesap.search.told_scores import ToldScores


class Scorer:
    """Scores a candidate by a function of its allocation."""

    batch_size = 1

    def __init__(self, space, evaluate):
        self.space, self.evaluate, self.scores = space, evaluate, {}

    def allocation(self, candidate):
        return tuple(candidate.removed(self.space.num_experts))

    def score(self, candidate):
        allocation = self.allocation(candidate)
        assert allocation not in self.scores, "no candidate is scored twice"
        self.scores[allocation] = float(self.evaluate(allocation))
        return WindowScores((self.scores[allocation],), (1,))


def make_evolution(space, options):
    order = {layer: list(range(total)) for layer, total in zip(space.layers, space.num_experts)}
    return Evolution(space, order, options)


def evolve(evaluate, space, options, told=None):
    """A search by the real loop: the strategy, with what it found, and the scores that were made for it."""
    strategy, scorer = make_evolution(space, options), Scorer(space, evaluate)
    run_search(strategy, scorer, told or ToldScores(), progress=False)
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
