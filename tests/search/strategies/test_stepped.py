# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A strategy written as one function."""

from __future__ import annotations

from optimum_evoesap.fitness.window_scores import WindowScores
from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.limits import Limits
from optimum_evoesap.search.loop import run_search
from optimum_evoesap.search.rounds import Round, as_round
from optimum_evoesap.search.strategies import SteppedStrategy
from tests.search.searches import Scorer, boards_of


SPACE = AllocationSpace.from_sparsity(0.5, [8] * 3, [2] * 3)
ORDER = {layer: list(range(8)) for layer in SPACE.layers}
ROUNDS = [[(4, 4, 4), (6, 4, 2)], [], [(6, 4, 2), (2, 4, 6), (4, 6, 2)], [(4, 4, 4)]]


class Listed(SteppedStrategy):
    """Asks for what is listed; one round is empty."""

    num_candidates = 6

    def steps(self):
        self.got = []
        for allocations in ROUNDS:
            answer = yield Round(tuple(map(self.candidate, allocations)), num_windows=len(allocations))
            self.got.append({one: scores.mean for one, scores in answer.items()})

    @property
    def best(self):
        return self.uniform


def value(candidate):
    return float(len(candidate[0]))


def test_each_round_is_answered_as_a_whole_and_an_empty_one_at_once():
    strategy, asked = Listed(SPACE, ORDER, EvoESAPOptions()), []
    while (now := strategy.ask()).candidates:
        assert strategy.ask() is now, "asking twice asks the same"
        asked.append([tuple(one.removed(SPACE.num_experts)) for one in now.candidates])
        for one in now.candidates:
            assert strategy.ask() is now
            strategy.tell(one, WindowScores((value(one),), (1,)))
    assert asked == [each for each in ROUNDS if each]
    assert strategy.ask().candidates == () == strategy.ask().candidates, "it is done for good"
    expected = [{strategy.candidate(each): value(strategy.candidate(each)) for each in row} for row in ROUNDS]
    assert strategy.got == expected


class Rising(SteppedStrategy):
    """One allocation a round, each better than the one before."""

    num_candidates = 6

    def steps(self):
        self.found = self.uniform
        for count in range(5, 7):
            candidate = self.candidate((count, 4, 8 - count))
            scores = yield Round((candidate,))
            assert set(scores) == {candidate}
            self.found = candidate

    @property
    def best(self):
        return self.found


def test_the_last_answer_counts_where_a_limit_is_reached_right_after_it():
    strategy = Rising(SPACE, ORDER, EvoESAPOptions())
    scorer = Scorer(SPACE, lambda allocation: allocation[0])
    end = run_search(strategy, boards_of(scorer), Limits(max_evaluations=2), progress=False)
    assert end.reason.startswith("max_evaluations=2") and end.best == strategy.candidate((5, 4, 3))


def test_nothing_runs_before_the_first_question():
    strategy = Listed(SPACE, ORDER, EvoESAPOptions())
    assert not hasattr(strategy, "got")


def test_candidates_alone_are_a_round_on_all_windows():
    candidates = [Listed(SPACE, ORDER, EvoESAPOptions()).uniform]
    assert as_round(candidates) == Round(tuple(candidates), None, "search")
    asked = Round(tuple(candidates), 3, "calibration")
    assert as_round(asked) is asked
