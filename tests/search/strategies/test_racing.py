# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Races around any strategy: fewer tokens, the best always scored on all windows, the same result again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap import EvoESAPConfig
from optimum_evoesap.fitness.window_scores import WindowScores
from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.run.state import RunState
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.find import make_strategy
from optimum_evoesap.search.loop import run_search
from optimum_evoesap.search.rounds import CALIBRATION, Round
from optimum_evoesap.search.strategies import Evolution, Racing, SteppedStrategy
from optimum_evoesap.search.strategies.racing import ROUND_HEATS, Heat, estimate, race
from optimum_evoesap.search.told_scores import ToldScores
from tests.pruning import make_pruner, rows
from tests.search.searches import Scorer, boards_of


SPACE = AllocationSpace.from_sparsity(0.5, [16] * 6, [2] * 6)
ORDER = {layer: list(range(16)) for layer in SPACE.layers}
WINDOWS, LENGTH = 48, 256
TARGET = (14, 2, 14, 2, 8, 8)


def noisy(allocation, noise=2.0):
    """Near a target is better; each window has something of its own, and something of the candidate's own."""
    value = -sum(abs(a - b) for a, b in zip(allocation, TARGET))
    common, own = random.Random(0), random.Random(str(allocation))
    return [value + 10 * common.random() + noise * (own.random() - 0.5) for _ in range(WINDOWS)]


def options(**given):
    return EvoESAPOptions(**{"sequence_length": LENGTH, "generations": 12, "population_size": 24} | given)


class Noting(Evolution):
    """Evolution that remembers what it was told."""

    def __init__(self, *given):
        super().__init__(*given)
        self.told = {}

    def tell(self, candidate, scores):
        assert candidate not in self.told
        self.told[candidate] = scores
        super().tell(candidate, scores)


def search(strategy, told=None, evaluate=noisy):
    scorer = Scorer(SPACE, evaluate, WINDOWS)
    windows = []
    score = scorer.score

    def counted(candidate, first, stop):
        windows.append(stop - first)
        return score(candidate, first, stop)

    scorer.score = counted
    boards = boards_of(scorer, told, Scorer(SPACE, evaluate, WINDOWS))
    end = run_search(strategy, boards, progress=False)
    return end, boards["search"].told, sum(windows) / WINDOWS


def test_a_race_finds_as_much_with_half_of_the_work():
    whole, told, cost = search(Evolution(SPACE, ORDER, options()))
    raced, told_raced, cost_raced = search(Racing(Evolution(SPACE, ORDER, options())))
    assert cost_raced < 0.5 * cost
    assert told_raced[raced.best].mean > told[whole.best].mean - 1.0
    assert told_raced.num_windows(raced.best) == WINDOWS


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 40))
def test_the_best_was_always_scored_on_all_windows(seed, noise):
    inner = Noting(SPACE, ORDER, options(seed=seed, generations=4))
    end, told, _ = search(racing := Racing(inner), evaluate=lambda each: noisy(each, noise))
    assert told.num_windows(end.best) == WINDOWS and racing.best == end.best
    complete = [one for one in inner.told if told.num_windows(one) == WINDOWS]
    assert told[end.best].mean == max(told[one].mean for one in complete)
    assert all(inner.told[one] == told[one] for one in complete)
    # The others are told what they scored where they were scored, and never as better than the best finalist.
    for one in inner.told.keys() - set(complete):
        number = told.num_windows(one)
        assert number in [heat.num_windows(LENGTH) for heat in ROUND_HEATS]
        assert len(inner.told[one]) == WINDOWS and inner.told[one].first(number) == told[one]
        assert inner.told[one].mean <= told[end.best].mean + 1e-9


def test_the_same_seed_gives_the_same_and_another_another():
    def found(seed):
        racing = Racing(Evolution(SPACE, ORDER, options(seed=seed)))
        end, told, cost = search(racing)
        return end, racing.history, cost

    assert found(3) == found(3) != found(4)


def test_a_run_that_goes_on_is_an_unbroken_run(tmp_path):
    unbroken = Racing(Evolution(SPACE, ORDER, options()))
    end, told, cost = search(unbroken)

    class Killed(Exception):
        pass

    left = [60]

    def killed(allocation):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return noisy(allocation)

    with RunState(tmp_path) as state, pytest.raises(Killed):
        search(Racing(Evolution(SPACE, ORDER, options())), ToldScores(state, "key"), killed)
    with RunState(tmp_path) as state:
        resumed = Racing(Evolution(SPACE, ORDER, options()))
        again, _, rest = search(resumed, ToldScores(state, "key"))
    assert again == end and resumed.history == unbroken.history and 0 < rest < cost


def test_a_heat_is_so_much_text_whatever_the_windows_are():
    assert [Heat(1536, 0.5).num_windows(length) for length in (128, 256, 500, 512, 4096)] == [12, 6, 4, 3, 1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.integers(0, 4)), min_size=2, max_size=8), st.data())
def test_an_estimate_is_paired(windows, data):
    seen = data.draw(st.integers(1, len(windows) - 1))
    # Where nothing is scored the sum is 0.
    one, other, counts = (
        tuple(each) for each in zip(*((a, b, count) if count else (0, 0, 0) for a, b, count in windows))
    )
    if not sum(counts[:seen]):
        return
    scores, whole = WindowScores(one, counts), WindowScores(other, counts)
    found = estimate(scores.first(seen), whole)
    assert found.first(seen) == scores.first(seen) and found.counts == counts
    lead = sum(a - b for a, b, count in zip(one[:seen], other, counts) if count) / sum(counts[:seen])
    for window in range(seen, len(windows)):
        assert found.sums[window] == pytest.approx(other[window] + lead * counts[window])


def test_an_estimate_keeps_domains_apart():
    domains = ("a", "b", "a", "b", "c")
    seen = WindowScores((1.0, 2.0), (1, 2), domains[:2])
    whole = WindowScores((4.0, 1.0, 5.0, 3.0, 6.0), (1, 2, 1, 4, 3), domains)
    # Of a position: 3 less in the first domain, half a point more in the second, 2/3 less on average.
    assert estimate(seen, whole).sums == pytest.approx((1.0, 2.0, 2.0, 5.0, 4.0))
    assert estimate(seen, whole).domains == domains


def test_a_race_is_about_the_worst_domain_where_that_counts():
    candidates = [Evolution(SPACE, ORDER, options()).candidate(each) for each in SPACE.shapes()[:2]]
    steps = race(candidates, LENGTH, [Heat(512, 0.5)])
    assert next(steps).num_windows == 2
    scores = [WindowScores((9.0, 0.0), (1, 1), ("a", "b")), WindowScores((1.0, 1.0), (1, 1), ("a", "b"))]
    assert steps.send(dict(zip(candidates, scores))).candidates == (candidates[1],)


def test_windows_in_which_nothing_is_scored_decide_nothing():
    candidates = [Evolution(SPACE, ORDER, options()).candidate(each) for each in SPACE.shapes()]
    steps = race(candidates, LENGTH, [Heat(256, 0.5), Heat(512, 0.5)])
    asked = next(steps)
    assert asked.num_windows == 1
    asked = steps.send({one: WindowScores((0.0,), (0,)) for one in candidates})
    assert asked == Round(tuple(candidates), 2)
    asked = steps.send({one: WindowScores((0.0, float(n)), (0, 1)) for n, one in enumerate(candidates)})
    assert asked == Round(tuple(candidates[3:]))


class Mixed(SteppedStrategy):
    """Rounds of each kind."""

    num_candidates = 40

    def steps(self):
        generator = random.Random(0)
        drawn = [self.candidate(self.space.random(generator)) for _ in range(60)]
        many = [one for one in dict.fromkeys(drawn) if one != self.uniform][:20]
        probes = [self.candidate([count] + [0] * 5) for count in range(1, 13)]
        self.asked = [Round(tuple(many[:4])), Round(tuple(many[:12]), 5), Round(tuple(many), None, CALIBRATION)]
        self.asked += [Round(tuple(probes)), Round((self.uniform, *many))]
        self.answers = []
        for each in self.asked:
            self.answers.append((yield each))

    @property
    def best(self):
        return self.uniform


def test_only_rounds_of_many_that_compete_on_all_windows_are_races():
    inner = Mixed(SPACE, ORDER, options())
    _, told, _ = search(Racing(inner))
    for asked, answer in zip(inner.asked[:4], inner.answers):
        expected = [
            tuple(noisy(tuple(one.removed(SPACE.num_experts)))[: asked.num_windows]) for one in asked.candidates
        ]
        assert [answer[one].sums for one in asked.candidates] == expected
    last = inner.answers[4]
    complete = [one for one in last if told.num_windows(one) == WINDOWS]
    # The uniform one, four that were known, and a quarter of 16.
    assert inner.uniform in complete and len(complete) == 1 + 4 + 4 and len(last) == 21


def test_what_the_strategy_calls_best_though_it_was_only_estimated_is_not_returned():
    class Wrong(Mixed):
        @property
        def best(self):
            return (
                min(self.answers[4], key=lambda one: self.answers[4][one].mean) if self.answers[4:] else self.uniform
            )

    inner = Wrong(SPACE, ORDER, options())
    end, told, _ = search(racing := Racing(inner))
    assert told.num_windows(inner.best) < WINDOWS == told.num_windows(end.best) and racing.best == end.best
    assert told[end.best].mean == max(told[one].mean for one in inner.answers[4] if told.num_windows(one) == WINDOWS)


@pytest.mark.parametrize("racing", [True, False, None])
def test_the_configuration_says_who_races(racing):
    config = EvoESAPConfig(racing=racing)
    strategy = make_strategy(ORDER, SPACE, config)
    assert isinstance(strategy, Racing) == (Evolution.races if racing is None else racing)
    assert not isinstance(make_strategy(ORDER, SPACE, config.replace(allocation="uniform")), Racing)


def test_a_wrong_value_is_refused():
    with pytest.raises(ValueError, match="racing='yes' is not valid"):
        EvoESAPConfig(racing="yes")


def test_races_reach_from_the_configuration_to_the_result():
    given = {"population_size": 12, "search_samples": 8, "racing": True, "guard": False, "sequence_length": 512}
    results = []
    for _ in range(2):
        pruner = make_pruner(**given)
        pruner.prune(None, rows(), rows(20, seed=1))
        results.append(pruner.result)
    assert results[0] == results[1] and results[0].scores["best"] == pruner.history[-1]["best"]
