# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Curves of single layers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimum_evoesap.search.curves import Curve, levels


@given(st.dictionaries(st.integers(0, 40), st.floats(-1, 1), min_size=1, max_size=8))
def test_a_curve_goes_through_its_points_and_straight_between_them(points):
    curve = Curve.through(points)
    counts = sorted(points)
    table = curve.table()
    assert list(table) == list(range(counts[0], counts[-1] + 1))
    assert all(table[count] == pytest.approx(points[count]) for count in counts)
    for low, high in zip(counts, counts[1:]):
        step = (points[high] - points[low]) / (high - low)
        for count in range(low, high):
            assert table[count + 1] - table[count] == pytest.approx(step, abs=1e-9)


def test_a_table_of_experts_that_go_together():
    assert Curve.through({4: 0.0, 12: 2.0}).table(4) == {4: 0.0, 8: 1.0, 12: 2.0}


@given(st.integers(0, 40), st.sampled_from([1, 2, 4]), st.integers(1, 12))
def test_levels_are_even_and_end_with_all_that_may_go(steps, unit, number):
    found = levels(steps * unit, unit, number)
    assert len(found) == min(number, steps) and found == sorted(set(found))
    assert all(0 < count <= steps * unit and count % unit == 0 for count in found)
    if found:
        assert found[-1] == steps * unit
        gaps = [high - low for low, high in zip([0, *found], found)]
        assert max(gaps) - min(gaps) <= unit
