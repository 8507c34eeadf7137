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


@pytest.mark.usefixtures("keeps_rounds")
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
    # Also of the generation that was broken off.
    assert end.best == strategy.candidate(max(scorer.scores, key=scorer.scores.__getitem__))


class OneRound(SteppedStrategy):
    """One long round, of growing values on the search windows."""

    def steps(self):
        self.found = self.uniform
        scores = yield Round(tuple(self.candidate((2 + count, 4, 6 - count)) for count in range(5)), self.num_windows)
        self.found = max(scores, key=lambda one: scores[one].mean)

    num_windows: int | None = None
    num_candidates = 4

    @property
    def best(self):
        return self.found


def broken_off(num_windows, seconds, told=None, max_minutes=None):
    """A search whose clock goes on by a second for each candidate that is scored."""
    kind = type("OneRound", (OneRound,), {"num_windows": num_windows})
    strategy = kind(SMALL_SPACE, {layer: list(range(8)) for layer in SMALL_SPACE.layers}, EvoESAPOptions())

    def slow(allocation):
        CLOCK[0] += seconds
        return allocation[0]

    scorer = Scorer(SMALL_SPACE, slow, 2)
    end = run_search(strategy, boards_of(scorer, told), Limits(max_minutes), progress=False)
    return end.best.removed(SMALL_SPACE.num_experts), end.reason, len(scorer.passes)


SMALL_SPACE = AllocationSpace.from_sparsity(0.5, [8] * 3, [2] * 3)
CLOCK = [0.0]


@pytest.fixture
def clock(monkeypatch):
    CLOCK[0] = 0.0
    monkeypatch.setattr("optimum_evoesap.search.limits.time.monotonic", lambda: CLOCK[0])


def test_candidates_of_a_round_that_is_broken_off_are_not_lost(clock):
    # The uniform one, and then three of the four others: the last of them is the best so far.
    assert broken_off(None, 1.0, max_minutes=4 / 60) == ([5, 4, 3], "max_minutes=0.0666667 have passed", 4)
    assert broken_off(None, 1.0)[0] == [6, 4, 2]


def test_those_that_have_scores_on_some_windows_only_are_not_taken(clock):
    best, reason, _ = broken_off(1, 1.0, max_minutes=4 / 60)
    assert best == list(SMALL_SPACE.uniform()) and "have passed" in reason


def test_minutes_of_a_killed_run_count_and_what_it_left_is_used_whatever_the_time(tmp_path, clock):
    with RunState(tmp_path) as state:
        first = broken_off(None, 1.0, ToldScores(state, "key"), max_minutes=4 / 60)
    with RunState(tmp_path) as state:
        # Killed after its search, say: the same again, and nothing more is scored.
        assert broken_off(None, 1.0, ToldScores(state, "key"), max_minutes=4 / 60) == (*first[:2], 0)
    with RunState(tmp_path) as state:
        # Five seconds in all.
        more = broken_off(None, 1.0, ToldScores(state, "key"), max_minutes=6 / 60)
        assert more == ([6, 4, 2], "the strategy has no more to ask", 1)


class Listed(SteppedStrategy):
    """Rounds of one candidate each, of these values; the best of them is its best."""

    def steps(self):
        self.found, best = self.uniform, 0.0
        for number, num_windows in self.rounds:
            candidate = self.candidate(self.allocations[number])
            scores = yield Round((candidate,), num_windows)
            if num_windows is None and scores[candidate].mean > best:
                self.found, best = candidate, scores[candidate].mean

    rounds: list = []
    allocations = [(6, 4, 2), (6, 3, 3), (6, 2, 4), (5, 4, 3), (5, 3, 4), (5, 5, 2)]
    num_candidates = 1

    @property
    def best(self):
        return self.found


ALL = None


@pytest.mark.parametrize(
    ("rounds", "patience", "scored", "stops", "best"),
    [
        ([(0, ALL), (1, ALL), (2, ALL), (3, ALL)], None, 4, False, 3),
        ([(0, ALL), (1, ALL), (2, ALL), (3, ALL)], 1, 2, True, 0),
        ([(0, ALL), (1, ALL), (2, ALL), (3, ALL)], 2, 4, False, 3),
        # One that is as good as the best is not better.
        ([(0, ALL), (1, ALL), (5, ALL), (3, ALL)], 2, 3, True, 0),
        # A round on few windows, and one whose scores are known, bring nothing that could be better.
        ([(0, ALL), (1, 1), (2, 1), (3, 1), (4, ALL)], 2, 5, False, 0),
        ([(0, ALL), (0, ALL), (0, ALL), (3, ALL)], 1, 2, False, 3),
    ],
)
def test_patience_is_rounds_one_after_the_other_without_a_better_candidate(rounds, patience, scored, stops, best):
    values = dict(zip(Listed.allocations, (2, 1, 3, 4, 1, 2)))
    kind = type("Listed", (Listed,), {"rounds": rounds})
    strategy = kind(SMALL_SPACE, {layer: list(range(8)) for layer in SMALL_SPACE.layers}, EvoESAPOptions())
    scorer = Scorer(SMALL_SPACE, lambda allocation: values.get(allocation, 0), 2)
    end = run_search(strategy, boards_of(scorer), Limits(patience=patience), progress=False)
    assert len(scorer.passes) == 1 + scored and end.best == strategy.candidate(Listed.allocations[best])
    assert end.reason.startswith(f"patience={patience}: so many rounds") is stops


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_patience_counts_generations_of_evolution(patience):
    options = EvoESAPOptions(population_size=8, num_elites=2, generations=60, seed=3)
    strategy, scorer = make_evolution(SPACE, options), Scorer(SPACE, score)
    end = run_search(strategy, boards_of(scorer), Limits(patience=patience), progress=False)
    bests = [entry["best"] for entry in strategy.history]
    in_vain = [len(set(bests[-1 - count :])) == 1 for count in range(len(bests))]
    assert end.reason.startswith(f"patience={patience}:") and len(bests) < 60
    assert in_vain[patience] and not in_vain[patience + 1 : patience + 2] == [True]
    assert end.best == strategy.best


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


@pytest.mark.parametrize("racing", [False, True])
def test_patience_reaches_the_search_and_the_record(racing):
    pruner = make_pruner(patience=1, generations=40, guard=False, racing=racing, population_size=10)
    pruner.prune(None, rows(), rows(seed=1))
    bests = [entry["best"] for entry in pruner.history]
    assert pruner.result.stopped_because.startswith("patience=1") and len(bests) < 40
    # Where a race brings scores on all windows, it is known to be in vain before its generation ends.
    better = bests if racing else bests[:-1]
    assert better == sorted(set(better)) and max(bests) == better[-1]


def test_an_allocation_that_is_given_is_no_search_and_has_no_limits():
    pruner = make_pruner(allocation=[4, 3, 2], max_evaluations=1, max_minutes=1e-9)
    pruner.prune(None, rows(), rows(seed=1))
    assert pruner.allocation == [4, 3, 2] and {"best", "uniform"} <= set(pruner.scores)


@pytest.mark.parametrize(
    "options",
    [
        {"max_evaluations": 0},
        {"max_evaluations": 2.5},
        {"max_minutes": 0},
        {"max_minutes": "ten"},
        {"patience": 0},
        {"patience": 1.5},
        {"patience": True},
    ],
)
def test_wrong_limits_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name}={value!r} is not valid"):
        EvoESAPConfig(**options)
