# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The guard: what is taken, and what is said, where an allocation does and does not beat the uniform one."""

from __future__ import annotations

import pytest

from optimum_evoesap import EvoESAPConfig
from optimum_evoesap.fitness.window_scores import WindowScores
from optimum_evoesap.search.candidate import Candidate
from optimum_evoesap.search.guard import choose, compare_by_domain, compare_with_uniform


UNIFORM = Candidate(((0, (0, 1)), (1, (0, 1))))
FOUND = Candidate(((0, (0,)), (1, (0, 1, 2))))
BASE = (0.2, 0.9, 0.5, 0.4)
# Better in every window; better in most of them, and on the mean; worse in every one.
CLEAR = tuple(value + gain for value, gain in zip(BASE, (0.1, 0.12, 0.09, 0.11)))
DOUBTFUL = tuple(value + gain for value, gain in zip(BASE, (0.3, -0.1, 0.1, -0.05)))
WORSE = tuple(value - 0.1 for value in BASE)
SEARCHED = {"sparsity": 0.5}
GIVEN = {"allocation": [3, 1]}


class Scorer:
    """A board that knows the mean of each window for both candidates."""

    num_windows = len(BASE)

    def __init__(self, found):
        self.means, self.asked, self.scorer = {UNIFORM: BASE, FOUND: found}, [], self

    def score(self, candidates):
        self.asked += candidates
        return [WindowScores(tuple(10 * value for value in self.means[one]), (10,) * len(BASE)) for one in candidates]

    def save(self):
        pass


@pytest.mark.parametrize(
    ("values", "options", "beats", "taken", "said"),
    [
        (CLEAR, SEARCHED, True, FOUND, None),
        (DOUBTFUL, SEARCHED, False, UNIFORM, "The uniform one is taken"),
        (WORSE, SEARCHED, False, UNIFORM, "The uniform one is taken"),
        (DOUBTFUL, SEARCHED | {"guard": False}, False, FOUND, "found at sparsity 0.5 does not beat"),
        (CLEAR, GIVEN, True, FOUND, None),
        (WORSE, GIVEN, False, FOUND, "given does not beat"),
    ],
)
def test_what_is_taken_and_what_is_said(values, options, beats, taken, said, caplog):
    config = EvoESAPConfig(**options)
    verdict = compare_with_uniform(Scorer(values), FOUND, UNIFORM, config)
    assert verdict.beats_uniform is beats and verdict.interval[0] <= verdict.interval[1]
    assert verdict.best.mean == pytest.approx(sum(values) / 4) and verdict.uniform.mean == pytest.approx(sum(BASE) / 4)
    assert choose(FOUND, UNIFORM, verdict, config) == taken
    assert (said in caplog.text) if said else not caplog.text
    if said and taken == FOUND:
        assert "is taken" not in caplog.text


def test_without_held_out_windows_nothing_is_rejected():
    assert choose(FOUND, UNIFORM, None, EvoESAPConfig(**SEARCHED)) == FOUND


@pytest.mark.parametrize(
    ("options", "is_said"), [(SEARCHED, True), ({"allocation": "uniform"}, False), ({"allocation": [2, 2]}, False)]
)
def test_the_uniform_allocation_is_scored_once_and_loses_only_where_it_was_searched(options, is_said, caplog):
    scorer = Scorer(CLEAR)
    verdict = compare_with_uniform(scorer, UNIFORM, UNIFORM, EvoESAPConfig(**options))
    assert scorer.asked == [UNIFORM] and verdict.interval == (0, 0) and not verdict.beats_uniform
    assert ("does not beat" in caplog.text) is is_said


@pytest.mark.parametrize(("found", "taken"), [(CLEAR, FOUND), (WORSE, UNIFORM), (BASE, UNIFORM)])
def test_on_one_window_the_higher_score_decides(found, taken, caplog):
    class OneWindow(Scorer):
        def score(self, candidates):
            return [scores.first(1) for scores in super().score(candidates)]

    verdict = compare_with_uniform(OneWindow(found), FOUND, UNIFORM, EvoESAPConfig())
    assert verdict.interval is None and choose(FOUND, UNIFORM, verdict, EvoESAPConfig()) == taken
    assert verdict.beats_uniform is (taken == FOUND)
    assert ("one window is too few for an interval. The uniform one is taken" in caplog.text) is (taken == UNIFORM)


def test_the_same_seed_gives_the_same_interval():
    config = EvoESAPConfig(seed=1)
    one, other = (compare_with_uniform(Scorer(DOUBTFUL), FOUND, UNIFORM, config).interval for _ in range(2))
    assert one == other


def test_in_each_domain_there_is_a_comparison_of_its_own():
    """Better on the whole, and worse in the domain of the last two windows."""
    mixed = (BASE[0] + 0.2, BASE[1] + 0.08, BASE[2] - 0.05, BASE[3] - 0.04)
    domains = ("code", "code", "math", "math")
    config = EvoESAPConfig(guard=False)
    verdict = compare_with_uniform(Scorer(mixed), FOUND, UNIFORM, config)
    found = compare_by_domain(verdict, domains, config.seed)
    assert list(found) == ["code", "math"]
    assert found["code"].beats_uniform and found["code"].best.mean == pytest.approx((mixed[0] + mixed[1]) / 2)
    assert not found["math"].beats_uniform and found["math"].interval[1] < 0
    assert compare_by_domain(verdict, ("code",) * 4, config.seed) == {} == compare_by_domain(verdict, (), config.seed)


def test_where_the_worst_domain_counts_it_is_what_decides(caplog):
    """Code gains much and is well; math, where uniform is worst, loses a little."""
    scorer = Scorer((BASE[0] - 0.01, BASE[1] + 0.1, BASE[2] + 0.2, BASE[3] - 0.02))
    domains = ("math", "code", "code", "math")
    by_mean = compare_with_uniform(scorer, FOUND, UNIFORM, EvoESAPConfig(guard=False))
    assert by_mean.interval[1] > 0.1 and "worst domain" not in caplog.text
    config = EvoESAPConfig(goal="worst")
    verdict = compare_with_uniform(scorer, FOUND, UNIFORM, config, domains)
    assert verdict.interval == pytest.approx((-0.02, -0.01)) and choose(FOUND, UNIFORM, verdict, config) == UNIFORM
    assert "0.2850 against 0.3000 in the worst domain" in caplog.text
