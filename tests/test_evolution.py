# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Allocations and evolution: budget and limits hold for any sizes, and the same seed gives the same result."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap.allocation import AllocationSpace
from optimum_evoesap.evolution import evolve
from optimum_evoesap.options import EvoESAPOptions


@st.composite
def spaces(draw):
    unit = draw(st.sampled_from([1, 1, 2, 4]))
    num_experts = [unit * draw(st.integers(2, 16)) for _ in range(draw(st.integers(1, 8)))]
    min_kept = [unit * draw(st.integers(1, max(1, total // unit - 1))) for total in num_experts]
    limits = sum(total - kept for total, kept in zip(num_experts, min_kept))
    budget = unit * draw(st.integers(1, max(1, limits // unit)))
    space = AllocationSpace.from_limits(num_experts, min_kept, budget, unit)
    return space


def is_inside(allocation, space):
    return (
        sum(allocation) == space.budget
        and len(allocation) == len(space.max_removed)
        and all(0 <= count <= limit and count % space.unit == 0 for count, limit in zip(allocation, space.max_removed))
    )


@settings(max_examples=150, deadline=None)
@given(spaces(), st.integers(0, 10**6))
def test_every_way_to_make_an_allocation_stays_inside(space, seed):
    generator = random.Random(seed)
    candidates = [space.uniform(), *space.shapes(), *(space.random(generator) for _ in range(5))]
    for candidate in list(candidates):
        candidates.append(space.mutate(candidate, generator, max_delta=4, max_mutations=3))
    for candidate in candidates:
        assert is_inside(candidate, space), (candidate, space)
        assert space.check(candidate) == candidate


@settings(max_examples=40, deadline=None)
@given(spaces(), st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 5))
def test_evolution_holds_the_budget_and_repeats_itself(space, seed, population_size, generations):
    options = EvoESAPOptions(population_size=population_size, num_elites=1, generations=generations, seed=seed)
    tried = []

    def evaluate(allocation):
        tried.append(allocation)
        return -sum((i + 1) * count for i, count in enumerate(allocation)) / 100

    result = evolve(evaluate, space, options, progress=False)
    assert len(tried) == len(set(tried)), "no candidate is scored twice"
    assert all(is_inside(candidate, space) for candidate in tried)
    assert tried[0] == space.uniform() == result.uniform
    assert result.scores[result.best] == max(result.scores.values())
    again = evolve(lambda allocation: result.scores[allocation], space, options, progress=False)
    assert again == result
    bests = [entry["best"] for entry in result.history]
    assert bests == sorted(bests), "elites never get lost"


def test_evolution_finds_a_known_optimum():
    space = AllocationSpace.from_sparsity(0.5, [16] * 8, [2] * 8)
    target = (14, 2, 14, 2, 8, 8, 14, 2)
    result = evolve(
        lambda allocation: -sum(abs(a - b) for a, b in zip(allocation, target)),
        space,
        EvoESAPOptions(generations=50),
        progress=False,
    )
    assert result.scores[result.best] >= -4 > result.scores[result.uniform]


def test_number_of_candidates_is_the_papers():
    space = AllocationSpace.from_sparsity(0.25, [64] * 16, [8] * 16)
    calls = []
    evolve(lambda a: calls.append(a) or random.Random(str(a)).random(), space, EvoESAPOptions(), progress=False)
    assert len(calls) == 32 + 49 * 28  # the 1404 candidates that the published search scores


def test_a_resumed_run_is_an_unbroken_run():
    space = AllocationSpace.from_sparsity(0.5, [16] * 6, [2] * 6)

    def score(allocation):
        return random.Random(str(allocation)).random()

    options = EvoESAPOptions(population_size=8, num_elites=2, generations=12, seed=7)
    unbroken = evolve(score, space, options, progress=False)
    saved = {}

    class Killed(Exception):
        pass

    def save(result):
        saved.update(result.scores)
        if len(result.history) == 5:
            raise Killed

    with pytest.raises(Killed):
        evolve(score, space, options, on_generation=save, progress=False)
    fresh = []
    resumed = evolve(lambda a: fresh.append(a) or score(a), space, options, known_scores=saved, progress=False)
    assert resumed == unbroken
    assert fresh and not set(fresh) & set(saved)


def test_different_seeds_search_differently():
    space = AllocationSpace.from_sparsity(0.5, [16] * 6, [2] * 6)
    tried = []
    for seed in (1, 2):
        result = evolve(lambda a: a[0], space, EvoESAPOptions(generations=2, seed=seed), progress=False)
        tried.append(set(result.scores))
    assert tried[0] != tried[1]


def test_uniform_is_exactly_uniform_for_equal_layers():
    for sparsity in (0.1, 0.25, 0.3, 0.5, 0.77):
        assert len(set(AllocationSpace.from_sparsity(sparsity, [60] * 7, [4] * 7).uniform())) == 1


def test_impossible_sparsities_say_what_is_possible():
    with pytest.raises(ValueError, match=r"largest possible\s+sparsity is 0.75"):
        AllocationSpace.from_sparsity(0.9, [8, 8], [2, 2])
    with pytest.raises(ValueError, match="at most 0.75"):
        AllocationSpace.from_sparsity(0.01, [8, 8], [2, 2])
    with pytest.raises(ValueError, match="more than 0.0625"):
        AllocationSpace.from_sparsity(0.0625, [8, 8], [2, 2])  # half an expert rounds to none
    assert AllocationSpace.from_sparsity(0.125, [8, 8], [2, 2]).budget == 2
    assert AllocationSpace.from_sparsity(0.75, [8, 8], [2, 2]).uniform() == (6, 6)


@pytest.mark.parametrize(
    "allocation,message",
    [((2,), "has 1 counts"), ((7, 1), "between 0 and 6"), ((-1, 9), "between 0"), ((2, 2), "budget is 8")],
)
def test_wrong_allocations_are_refused(allocation, message):
    with pytest.raises(ValueError, match=message):
        AllocationSpace((8, 8), (6, 6), 8).check(allocation)


def test_groups_stay_equal():
    with pytest.raises(ValueError, match="multiple of 2"):
        AllocationSpace((8, 8), (6, 6), 8, unit=2).check((3, 5))
