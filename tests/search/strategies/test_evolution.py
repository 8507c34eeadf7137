# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Allocations and evolution: budget and limits hold for any sizes, and the same seed gives the same result."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap.fitness.window_scores import WindowScores
from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.run.state import RunState
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


def test_a_resumed_run_is_an_unbroken_run(tmp_path):
    space = AllocationSpace.from_sparsity(0.5, [16] * 6, [2] * 6)

    def score(allocation):
        return random.Random(str(allocation)).random()

    options = EvoESAPOptions(population_size=8, num_elites=2, generations=12, seed=7)
    unbroken, scores = evolve(score, space, options)

    class Killed(Exception):
        pass

    def score_until_killed(allocation):
        if len(saved) == 30:
            raise Killed
        saved.add(allocation)
        return score(allocation)

    saved: set = set()
    with RunState(tmp_path) as state, pytest.raises(Killed):
        evolve(score_until_killed, space, options, ToldScores(state, "key"))
    with RunState(tmp_path) as state:
        resumed, fresh = evolve(score, space, options, ToldScores(state, "key"))
    assert resumed.best == unbroken.best and resumed.history == unbroken.history
    # What was scored of the generation in which it was killed is lost, all else is not scored again.
    assert len(scores) - 30 <= len(fresh) < len(scores) - 20 and set(scores) == saved | set(fresh)


def test_different_seeds_search_differently():
    space = AllocationSpace.from_sparsity(0.5, [16] * 6, [2] * 6)
    tried = []
    for seed in (1, 2):
        _, scores = evolve(lambda a: a[0], space, EvoESAPOptions(generations=2, seed=seed))
        tried.append(set(scores))
    assert tried[0] != tried[1]


def test_uniform_is_exactly_uniform_for_equal_layers():
    for sparsity in (0.1, 0.25, 0.3, 0.5, 0.77):
        assert len(set(AllocationSpace.from_sparsity(sparsity, [60] * 7, [4] * 7).uniform())) == 1


def test_uniform_takes_the_same_share_of_unequal_layers():
    space = AllocationSpace.from_sparsity(0.2, [16, 8, 8], [2, 2, 2])
    assert space.budget == 3 + 2 + 2, "the nearest whole number of each layer"
    assert space.uniform() == (3, 2, 2)
    assert AllocationSpace.from_sparsity(0.25, [16, 8], [2, 2]).uniform() == (4, 2)
    assert AllocationSpace.from_sparsity(0.4, [12, 12], [3, 3], unit=3).uniform() == (6, 6)


def test_an_allocation_is_the_nearest_to_its_weights():
    space = AllocationSpace((8, 8), (6, 2), 3)
    assert space.fit([3, 5]) == (1, 2)
    assert space.fit([1, 1]) == (2, 1), "of equals the first gives more"
    assert space.fit([0, 1]) == (1, 2), "what one layer cannot give comes from the other"
    assert AllocationSpace((8, 8), (6, 2), 4).fit([0, 0]) == (3, 1)


def test_shapes_are_what_they_are_called():
    rising, falling, peak, edges, front, back = AllocationSpace.from_sparsity(0.5, [32] * 5, [2] * 5).shapes()
    assert rising == tuple(sorted(rising)) and rising[0] < 16 < rising[4]
    assert falling == tuple(sorted(falling, reverse=True)) and falling[0] > 16 > falling[4]
    assert peak[0] < peak[1] < peak[2] > peak[3] > peak[4]
    assert edges[0] > edges[1] > edges[2] < edges[3] < edges[4]
    assert min(front[:3]) > 16 > max(front[3:]) and max(back[:2]) < 16 < min(back[2:])


@pytest.mark.parametrize("unit", [1, 2])
def test_mutations_are_the_papers(unit):
    space = AllocationSpace.from_sparsity(0.5, [64] * 64, [2] * 64, unit)
    parent, generator = space.uniform(), random.Random(0)

    def shares(**options):
        moves = [moved(parent, space.mutate(parent, generator, **options)) // unit for _ in range(3000)]
        return {each: pytest.approx(moves.count(each) / len(moves), abs=0.04) for each in set(moves)}

    assert shares(max_delta=4, max_mutations=1) == {1: 1 / 4, 2: 1 / 4, 3: 1 / 4, 4: 1 / 4}
    found = shares(max_delta=1, max_mutations=3)
    assert [found[moves] for moves in (1, 2, 3)] == [5 / 9, 3 / 9, 1 / 9], "the smaller of two draws"


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


def test_a_strategy_needs_no_torch():
    program = (
        "import sys; import optimum_evoesap.search.strategies\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'a strategy only counts'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
