# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Allocations: budget and limits hold for any sizes, and what is impossible is said."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap.search.allocation import AllocationSpace
from tests.search.searches import is_inside, moved, spaces


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
