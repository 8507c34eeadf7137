# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The guided search by the real loop, on scores that are a function of the kept experts."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.run.state import RunState
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.candidate import Candidate, check_candidate
from optimum_evoesap.search.loop import run_search
from optimum_evoesap.search.moves import points_of
from optimum_evoesap.search.strategies import Guided
from optimum_evoesap.search.told_scores import ToldScores
from tests.search.searches import Scorer, boards_of


LAYERS, EXPERTS, WINDOWS = 4, 8, 6
EVERYTHING = Candidate(tuple((layer, tuple(range(EXPERTS))) for layer in range(LAYERS)))
OPTIONS = EvoESAPOptions(sparsity=0.5, sequence_length=2048)


def make_space(unit=1, **changes):
    return replace(AllocationSpace.from_sparsity(0.5, [EXPERTS] * LAYERS, [2] * LAYERS, unit), **changes)


def worth_of_experts(seed=0):
    generator = random.Random(seed)
    return {(layer, expert): generator.random() ** 3 for layer in range(LAYERS) for expert in range(EXPERTS)}


def scores_by(worth):
    """The kept worth, a little different in each window."""

    def score(candidate):
        kept = sum(worth[layer, expert] for layer, experts in candidate.items() for expert in experts)
        return tuple(kept * (1 + window / 100) for window in range(WINDOWS))

    return score


def search(space, worth, told=None, score=None):
    # The given order knows each expert's worth but for some noise, and has the groups in turn.
    noise, order, score = random.Random(9), {}, score or scores_by(worth)
    for layer in space.layers:
        ranked = sorted(range(EXPERTS), key=lambda expert: worth[layer, expert] + noise.gauss(0, 0.2))
        order[layer] = list(points_of(EVERYTHING, dict.fromkeys(space.layers, ranked), space)[layer].in_turn(ranked))
    strategy = Guided(space, order, OPTIONS)
    scorer, again = (Scorer(space, score, WINDOWS, of_candidate=True) for _ in range(2))
    end = run_search(strategy, boards_of(scorer, told, again), progress=False)
    check_candidate(end.best, space)
    return end.best, strategy, scorer


def test_it_finds_which_experts_and_how_many_from_where():
    worth, space = worth_of_experts(4), make_space()
    best, strategy, _ = search(space, worth)
    found, uniform = (
        sum(worth[layer, one] for layer in each for one in each[layer]) for each in (best, strategy.uniform)
    )
    most = sum(sorted(worth.values())[space.budget :])
    # The most that any choice keeps, also one that leaves a layer fewer experts than it needs.
    assert uniform < 0.85 * most and found > 0.93 * most
    # Each stage alone brings something: the others would make up for one that does not.
    first, second, third = (entry["best"] for entry in strategy.history[:3])
    assert [entry["stage"] for entry in strategy.history[:3]] == ["uniform", "curves", "order measured again"]
    assert first < second < third
    assert search(space, worth)[0] == best and strategy.history[-1]["best"] > strategy.history[0]["best"]


@pytest.mark.parametrize(
    "space",
    [
        make_space(2, num_groups=(2,) * LAYERS),
        make_space(max_removed=(4,) * LAYERS),
        make_space(max_removed=(5,) * LAYERS, protected=(frozenset({7}),) * LAYERS),
    ],
)
def test_groups_equal_counts_and_protected_experts_hold(space):
    worth = worth_of_experts(1)
    best, strategy, _ = search(space, worth)
    assert scores_by(worth)(best) > scores_by(worth)(strategy.uniform)
    if space.is_single:
        assert set(best.removed(space.num_experts)) == {4}


def test_a_killed_search_goes_on_to_the_same_result(tmp_path):
    space, worth, calls = make_space(), worth_of_experts(2), []

    def killed(candidate):
        calls.append(candidate)
        if len(calls) > 60:
            raise KeyboardInterrupt
        return scores_by(worth)(candidate)

    expected, strategy, _ = search(space, worth)
    with RunState(tmp_path) as state, pytest.raises(KeyboardInterrupt):
        search(space, worth, ToldScores(state, "key"), killed)
    with RunState(tmp_path) as state:
        best, resumed, scorer = search(space, worth, ToldScores(state, "key"))
    assert best == expected and resumed.history == strategy.history and not set(calls[:20]) & set(scorer.scores)
