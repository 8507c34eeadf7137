# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Evolution: the budget holds, the best is never lost, and the same seed gives the same result."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.search.allocation import AllocationSpace
from tests.search.searches import evolve, is_inside, moved, spaces


@settings(max_examples=40, deadline=None)
@given(spaces(), st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 5))
def test_evolution_holds_the_budget_and_repeats_itself(space, seed, population_size, generations):
    options = EvoESAPOptions(population_size=population_size, num_elites=1, generations=generations, seed=seed)
    tried = []

    def evaluate(allocation):
        tried.append(allocation)
        return -sum((i + 1) * count for i, count in enumerate(allocation)) / 100

    strategy, scores = evolve(evaluate, space, options)
    assert all(is_inside(candidate, space) for candidate in tried)
    assert strategy.best == strategy.candidate(max(scores, key=scores.__getitem__))
    assert tried[0] == space.uniform() and strategy.uniform == strategy.candidate(space.uniform())
    again, same = evolve(lambda allocation: scores[allocation], space, options)
    assert same == scores and again.best == strategy.best and again.history == strategy.history
    assert len(strategy.history) == generations and strategy.history[-1]["candidates"] == len(tried)
    bests = [entry["best"] for entry in strategy.history]
    assert bests == sorted(bests), "elites never get lost"
    first = list(scores.values())[: strategy.history[0]["candidates"]]
    assert strategy.history[0]["mean"] == pytest.approx(sum(first) / len(first))


def test_evolution_finds_a_known_optimum():
    space = AllocationSpace.from_sparsity(0.5, [16] * 8, [2] * 8)
    target = (14, 2, 14, 2, 8, 8, 14, 2)
    strategy, scores = evolve(
        lambda allocation: -sum(abs(a - b) for a, b in zip(allocation, target)), space, EvoESAPOptions(generations=50)
    )
    assert strategy.history[-1]["best"] == max(scores.values()) >= -4 > scores[space.uniform()]


def test_number_of_candidates_is_the_papers():
    space = AllocationSpace.from_sparsity(0.25, [64] * 16, [8] * 16)
    calls = []
    evolve(lambda a: calls.append(a) or random.Random(str(a)).random(), space, EvoESAPOptions())
    assert len(calls) == 32 + 49 * 28  # the 1404 candidates that the published search scores
    assert calls[:7] == [space.uniform(), *space.shapes()]


def test_every_elite_has_children():
    space = AllocationSpace.from_sparsity(0.5, [32] * 12, [2] * 12)
    calls = []
    options = EvoESAPOptions(population_size=24, num_elites=4, generations=2, max_delta=1, max_mutations=1)
    evolve(lambda a: calls.append(a) or random.Random(str(a)).random(), space, options)
    elites = sorted(calls[:24], key=lambda each: -random.Random(str(each)).random())[:4]
    parents = [[elite for elite in elites if moved(child, elite) == 1] for child in calls[24:]]
    assert len(parents) == 20 and all(len(each) == 1 for each in parents)
    assert {parent for (parent,) in parents} == set(elites)


def test_different_seeds_search_differently():
    space = AllocationSpace.from_sparsity(0.5, [16] * 6, [2] * 6)
    tried = []
    for seed in (1, 2):
        _, scores = evolve(lambda a: a[0], space, EvoESAPOptions(generations=2, seed=seed))
        tried.append(set(scores))
    assert tried[0] != tried[1]
