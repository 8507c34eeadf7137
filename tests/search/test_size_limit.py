# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The budget of a size: enough for every allocation that may win, and not one unit more."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.size_limit import CheckpointSizes, budget_for_size


@st.composite
def problems(draw):
    unit = draw(st.sampled_from([1, 1, 2]))
    limits = [unit * draw(st.integers(0, 3)) for _ in range(draw(st.integers(1, 4)))]
    num_experts = [limit + unit for limit in limits]
    space = AllocationSpace(tuple(num_experts), tuple(limits), 0, unit, tuple(range(len(limits))))
    is_equal = draw(st.booleans())
    sizes = [draw(st.integers(1, 30))] * len(limits) if is_equal else [draw(st.integers(1, 30)) for _ in limits]
    whole = 100 + sum(size * total // unit for size, total in zip(sizes, num_experts))
    return space, CheckpointSizes(whole, tuple(sizes)), draw(st.integers(1, whole + 10))


def allocations(space, budget):
    every = product(*(range(0, limit + 1, space.unit) for limit in space.max_removed))
    return [each for each in every if sum(each) == budget]


def size_after(allocation, sizes, unit):
    return sizes.whole - sum(count // unit * size for count, size in zip(allocation, sizes.per_unit))


@settings(max_examples=400, deadline=None)
@given(problems())
def test_every_allocation_is_small_enough_and_with_one_unit_fewer_some_is_not(problem):
    space, sizes, target = problem
    budgets = range(0, sum(space.max_removed) + 1, space.unit)
    largest = [max(size_after(each, sizes, space.unit) for each in allocations(space, budget)) for budget in budgets]
    right = next((budget for budget, size in zip(budgets, largest) if size <= target), None)
    if right:
        assert budget_for_size(target, sizes, space, space.unit, any_allocation=True) == right
        return
    message = "nothing has to go" if right == 0 else f"has {largest[-1]} bytes"
    with pytest.raises(ValueError, match=message):
        budget_for_size(target, sizes, space, space.unit, any_allocation=True)


def test_the_uniform_allocation_alone_needs_fewer_where_experts_differ():
    space = AllocationSpace((8, 8), (6, 6), 0, 1, (0, 1))
    sizes = CheckpointSizes(1000, (10, 30))
    assert budget_for_size(920, sizes, space, 1, any_allocation=False) == 4
    assert budget_for_size(920, sizes, space, 1, any_allocation=True) == 7
    assert budget_for_size(920, sizes, space, 2, any_allocation=False) == 4
    assert budget_for_size(919, sizes, space, 2, any_allocation=False) == 6


def test_an_estimate_does_not_refuse_what_may_be_possible():
    space = AllocationSpace((8,), (6,), 0, 1, (0,))
    with pytest.raises(ValueError, match="nothing has to go"):
        budget_for_size(1000, CheckpointSizes(1000, (10,)), space, 1, True)
    assert budget_for_size(1000, CheckpointSizes(1000, (10,), is_estimate=True), space, 1, True) == 1
    with pytest.raises(ValueError, match="has 940 bytes of the 1000"):
        budget_for_size(939, CheckpointSizes(1000, (10,), is_estimate=True), space, 1, True)
