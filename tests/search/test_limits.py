# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Limits of a search: never more evaluations than allowed, the best so far is returned, and the reason is told."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap import EvoESAPConfig
from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.run.state import RunState
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.limits import LimitReached, Limits
from optimum_evoesap.search.loop import run_search
from optimum_evoesap.search.rounds import Round
from optimum_evoesap.search.strategies import SteppedStrategy
from optimum_evoesap.search.told_scores import ToldScores
from tests.pruning import make_pruner, rows
from tests.search.searches import Scorer, boards_of, make_evolution


SPACE = AllocationSpace.from_sparsity(0.5, [16] * 6, [2] * 6)
WINDOWS = 8


def score(allocation):
    return random.Random(str(allocation)).random()


class Widening(SteppedStrategy):
    """Random allocations, each round on another number of windows; the best on all of them."""

    def steps(self):
        generator = random.Random(self.options.seed)
        while True:
            tried = [self.candidate(self.space.random(generator)) for _ in range(generator.randint(1, 6))]
            scores = yield Round(tuple(dict.fromkeys(tried)), generator.choice([1, 3, 8, None]))
            best = max(scores, key=lambda one: scores[one].mean)
            whole = yield Round((best,))
            if whole[best].mean > self.best_mean:
                self.found, self.best_mean = best, whole[best].mean

    def __init__(self, space, order, options):
        super().__init__(space, order, options)
        self.found, self.best_mean = self.uniform, -1.0

    num_candidates = 10

    @property
    def best(self):
        return self.found


def widening(seed=0):
    order = {layer: list(range(16)) for layer in SPACE.layers}
    return Widening(SPACE, order, EvoESAPOptions(seed=seed))


def search(strategy, limits, told=None):
    scorer = Scorer(SPACE, score, WINDOWS)
    end = run_search(strategy, boards_of(scorer, told), limits, progress=False)
    return end, scorer


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40))
def test_evaluations_are_never_more_than_allowed(seed, most):
    scored = []

    class Counting(Scorer):
        def score(self, candidate, first, stop):
            scored.append(stop - first)
            return super().score(candidate, first, stop)

    limits = Limits(max_evaluations=most)
    end = run_search(widening(seed), boards_of(Counting(SPACE, score, WINDOWS)), limits, progress=False)
    assert sum(scored) / WINDOWS == pytest.approx(limits.evaluations) and sum(scored) <= most * WINDOWS
    assert end.reason == f"max_evaluations={most} are used up"


@pytest.mark.parametrize("killed_after", [0, 3, 11, 30])
def test_a_run_that_goes_on_stops_where_an_unbroken_one_does(tmp_path, killed_after):
    unbroken, scorer = search(widening(5), Limits(max_evaluations=25))

    class Killed(Exception):
        pass

    class Mortal(Scorer):
        def score(self, candidate, first, stop):
            if len(self.passes) == killed_after:
                raise Killed
            return super().score(candidate, first, stop)

    with RunState(tmp_path) as state, pytest.raises(Killed):
        boards = boards_of(Mortal(SPACE, score, WINDOWS), ToldScores(state, "key"))
        run_search(widening(5), boards, Limits(max_evaluations=25), progress=False)
    with RunState(tmp_path) as state:
        resumed, rest = search(widening(5), Limits(max_evaluations=25), ToldScores(state, "key"))
    assert resumed == unbroken and len(rest.passes) == len(scorer.passes) - killed_after


def test_what_is_known_counts_so_that_another_run_does_not_go_further(tmp_path):
    with RunState(tmp_path) as state:
        first, _ = search(widening(), Limits(max_evaluations=20), ToldScores(state, "key"))
    with RunState(tmp_path) as state:
        again, scorer = search(widening(), Limits(max_evaluations=20), ToldScores(state, "key"))
    assert again == first and scorer.passes == []


def test_minutes_pass_and_the_best_so_far_is_returned(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("optimum_evoesap.search.limits.time.monotonic", lambda: clock[0])

    def slow(allocation):
        clock[0] += 1.0
        return score(allocation)

    options = EvoESAPOptions(population_size=8, num_elites=2, generations=50)
    whole = make_evolution(SPACE, options)
    run_search(whole, boards_of(Scorer(SPACE, score)), progress=False)
    strategy, scorer = make_evolution(SPACE, options), Scorer(SPACE, slow)
    end = run_search(strategy, boards_of(scorer), Limits(max_minutes=1.0), progress=False)
    assert end.reason == "max_minutes=1 have passed" and clock[0] == 60 and len(scorer.passes) == 60
    assert strategy.history == whole.history[: len(strategy.history)] and len(strategy.history) == 9
    assert end.best == strategy.candidate(strategy.history[-1]["allocation"])


def test_sums_of_shares_are_not_more_than_the_whole():
    limits = Limits(max_evaluations=1)
    for _ in range(10):
        limits.spend(0.1)
    for _ in range(2):
        with pytest.raises(LimitReached):
            limits.spend(0.1)
    assert limits.evaluations == pytest.approx(1.0)


def test_limits_reach_the_search_from_the_configuration():
    pruner = make_pruner(max_evaluations=5, guard=False)
    pruner.prune(None, rows(), rows(seed=1))
    # The first generation has 6 candidates: nothing but the uniform one could be scored.
    assert pruner.history == [] and pruner.allocation == list(pruner.space.uniform())


def test_an_allocation_that_is_given_is_no_search_and_has_no_limits():
    pruner = make_pruner(allocation=[4, 3, 2], max_evaluations=1, max_minutes=1e-9)
    pruner.prune(None, rows(), rows(seed=1))
    assert pruner.allocation == [4, 3, 2] and {"best", "uniform"} <= set(pruner.scores)


@pytest.mark.parametrize(
    "options", [{"max_evaluations": 0}, {"max_evaluations": 2.5}, {"max_minutes": 0}, {"max_minutes": "ten"}]
)
def test_wrong_limits_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name}={value!r} is not valid"):
        EvoESAPConfig(**options)
