# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The knapsack against trying everything."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap.search.knapsack import cheapest


@st.composite
def problems(draw):
    unit = draw(st.sampled_from([1, 1, 2, 3]))
    counts = st.sets(st.integers(0, 5), min_size=1, max_size=5)
    # Whole numbers: sums of them have no rounding, and many are equal.
    losses = st.integers(-3, 8).map(float)
    tables = []
    for _ in range(draw(st.integers(1, 4))):
        tables.append({unit * count: draw(losses) for count in sorted(draw(counts))})
    return tables, unit * draw(st.integers(0, 12)), unit


@settings(max_examples=400, deadline=None)
@given(problems())
def test_it_is_the_best_of_all_and_of_equal_ones_the_one_that_takes_last(problem):
    tables, budget, unit = problem
    allowed = [each for each in itertools.product(*tables) if sum(each) == budget]
    if not allowed:
        with pytest.raises(ValueError, match=f"removes {budget} experts"):
            cheapest(tables, budget, unit)
        return
    least = min(sum(table[count] for table, count in zip(tables, each)) for each in allowed)
    equal = [each for each in allowed if sum(table[count] for table, count in zip(tables, each)) == least]
    expected = max(equal, key=lambda each: each[::-1])
    assert cheapest(tables, budget, unit) == expected


def test_a_count_of_infinite_loss_is_never_taken():
    assert cheapest([{0: 0.0, 2: math.inf}, {0: 0.0, 2: 5.0}], 2, 2) == (0, 2)
    with pytest.raises(ValueError, match="removes 4"):
        cheapest([{0: 0.0, 2: math.inf}, {0: 0.0, 2: 5.0}], 4, 2)
