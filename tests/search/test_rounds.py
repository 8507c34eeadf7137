# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a strategy may ask for: other data, fewer windows, and other budgets to learn from."""

from __future__ import annotations

import pytest

from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.limits import Limits
from optimum_evoesap.search.loop import run_search
from optimum_evoesap.search.rounds import CALIBRATION, Round
from optimum_evoesap.search.strategies import SteppedStrategy
from tests.search.searches import Scorer, boards_of


SPACE = AllocationSpace.from_sparsity(0.5, [8] * 3, [2] * 3)
UNIFORM, PROBE, OTHER = (4, 4, 4), (0, 6, 0), (6, 4, 2)


class Asks(SteppedStrategy):
    """Asks for the rounds that it is made with, and remembers the answers; its best is what it is made with too."""

    num_candidates = 1
    rounds: tuple = ()
    found = UNIFORM

    def steps(self):
        self.answers = []
        for allocations, num_windows, data in self.rounds:
            answer = yield Round(tuple(map(self.candidate, allocations)), num_windows, data)
            self.answers.append({tuple(one.removed(SPACE.num_experts)): each for one, each in answer.items()})

    @property
    def best(self):
        return self.candidate(self.found)


def search(rounds, found=UNIFORM, calibration=True, limits=None):
    kind = type("Asks", (Asks,), {"rounds": rounds, "found": found})
    strategy = kind(SPACE, {layer: list(range(8)) for layer in SPACE.layers}, EvoESAPOptions())
    scorers = Scorer(SPACE, sum, 4), Scorer(SPACE, lambda each: -sum(each), 6)
    boards = boards_of(scorers[0], calibration=scorers[1] if calibration else None)
    return strategy, run_search(strategy, boards, limits, progress=False), scorers


def test_a_round_names_its_data_and_windows():
    rounds = [((OTHER,), 2, "search"), ((OTHER, PROBE), 3, CALIBRATION), ((OTHER,), None, CALIBRATION)]
    limits = Limits(max_evaluations=100)
    strategy, end, (search_scorer, calibration_scorer) = search(rounds, limits=limits)
    sums = [{allocation: scores.sums for allocation, scores in each.items()} for each in strategy.answers]
    assert sums[0] == {OTHER: (12.0, 12.0)}
    assert sums[1] == {OTHER: (-12.0,) * 3, PROBE: (-6.0,) * 3} and sums[2] == {OTHER: (-12.0,) * 6}
    assert len(search_scorer.passes) == 2 and len(calibration_scorer.passes) == 3
    # Uniform on four windows, 2 windows, 2 x 3 and 3 more; four windows of search data are one evaluation.
    assert limits.evaluations == pytest.approx((4 + 2 + 6 + 3) / 4)
    assert end.best == strategy.uniform and end.reason == "the strategy has no more to ask"


def test_search_data_stand_in_where_there_are_no_calibration_data():
    strategy, _, _ = search([((PROBE,), 1, CALIBRATION)], calibration=False)
    assert strategy.answers[0][PROBE].sums == (6.0,)


def test_other_budgets_are_allowed_to_learn_from_and_refused_as_the_best():
    strategy, _, _ = search([((PROBE, OTHER), None, "search")])
    assert set(strategy.answers[0]) == {PROBE, OTHER}
    with pytest.raises(ValueError, match="strategy Asks asks for a wrong .* removes 6 experts, the budget is 12"):
        search([((PROBE, OTHER), None, "search")], found=PROBE)


def test_a_probe_keeps_to_the_limits_of_each_layer():
    with pytest.raises(ValueError, match="between 0 and 6 can go"):
        search([(((7, 0, 0),), None, "search")])


def test_unknown_data_are_refused():
    with pytest.raises(ValueError, match="asks for scores on 'test' data; there are search, calibration"):
        search([((OTHER,), None, "test")])


def test_a_best_that_was_scored_on_few_windows_is_scored_on_all():
    strategy, end, (scorer, _) = search([((OTHER,), 1, "search")], found=OTHER)
    assert end.best == strategy.candidate(OTHER)
    assert [first for candidate, first in scorer.passes if candidate == end.best] == [0, 1]
