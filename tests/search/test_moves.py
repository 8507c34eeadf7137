# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Moves keep groups equal and protected experts in place, and lead to candidates that their space allows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap.calibration.protection import protected_last
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.candidate import Candidate, check_candidate
from optimum_evoesap.search.moves import LayerPoint, points_of


@st.composite
def problems(draw):
    """A space whose layers have different groups and protected experts, an order and a candidate in it."""
    unit = draw(st.sampled_from([1, 2, 4]))
    depth = draw(st.integers(1, 3))
    num_groups = [draw(st.sampled_from([each for each in (1, 2, 4) if unit % each == 0])) for _ in range(depth)]
    totals = [4 * draw(st.integers(2, 4)) for _ in range(depth)]
    layers = [2 * place + 1 for place in range(depth)]
    order, protected, least = {}, [], []
    for layer, total, groups in zip(layers, totals, num_groups):
        size = total // groups
        each = [draw(st.permutations(range(group * size, (group + 1) * size))) for group in range(groups)]
        order[layer] = [expert for row in zip(*each) for expert in row]
        protected.append(frozenset(draw(st.sets(st.integers(0, total - 1), max_size=3))))
        inside = [sum(expert // size == group for expert in protected[-1]) for group in range(groups)]
        least.append(max(groups, max(inside) * groups))
    order = protected_last(order, dict(zip(layers, protected)), dict(zip(layers, num_groups)))
    space = AllocationSpace.from_limits(totals, least, 0, unit, layers)
    space = replace(space, num_groups=tuple(num_groups), protected=tuple(protected))
    removed = {layer: unit * draw(st.integers(0, most // unit)) for layer, most in zip(layers, space.max_removed)}
    space = replace(space, budget=sum(removed.values()))
    return space, order, Candidate.from_order(order, removed)


@settings(max_examples=200, deadline=None)
@given(problems(), st.data())
def test_moves_lead_to_what_the_space_allows(problem, data):
    space, order, candidate = problem
    check_candidate(candidate, space)
    for (layer, point), most in zip(points_of(candidate, order, space).items(), space.max_removed):
        total = len(point.order)
        assert set(point.removed_in_order) == set(range(total)) - point.kept
        assert set(point.kept_in_order) == point.kept - point.protected
        removed = total - len(point.kept)
        for expert in point.kept_in_order if removed < most else []:
            kept = point.without(expert)
            assert expert not in kept and len(kept) == len(point.kept) - space.unit and kept < point.kept
            check_candidate(candidate.with_layer(layer, kept), space, any_budget=True)
        for expert in point.removed_in_order:
            kept = point.with_back(expert)
            assert expert in kept and len(kept) == len(point.kept) + space.unit and kept > point.kept
            check_candidate(candidate.with_layer(layer, kept), space, any_budget=True)
        for kept in point.swaps(2):
            assert len(kept - point.kept) == 1
            check_candidate(candidate.with_layer(layer, kept), space)
        for expert in point.removed_in_order:
            assert point.returning(expert) == replace(point, kept=point.with_back(expert))
        wanted = data.draw(st.permutations(range(total)))
        again = point.in_turn(wanted)
        assert sorted(again) == list(range(total))
        for count in range(0, most + 1, space.unit):
            check_candidate(candidate.with_layer(layer, again[count:]), space, any_budget=True)
        for group in range(point.num_groups):
            free = [each for each in again if point.group_of(each) == group and each not in point.protected]
            assert free == [each for each in wanted if each in free], "each group keeps the order that is given"


def test_the_next_of_other_groups_move_along():
    point = LayerPoint((0, 4, 1, 5, 2, 6, 3, 7), frozenset({1, 2, 3, 5, 6, 7}), num_groups=2, unit=2)
    assert point.without(2) == {1, 3, 6, 7} and point.with_back(4) == set(range(8))
    assert point.kept_in_order == [1, 5, 2, 6, 3, 7] and point.removed_in_order == [4, 0]
    # Of each group the next to come back, 0 and 4, for one of the two next to go.
    assert [sorted(kept) for kept in point.swaps(2)] == [
        [0, 2, 3, 5, 6, 7],
        [0, 1, 3, 5, 6, 7],
        [1, 2, 3, 4, 6, 7],
        [1, 2, 3, 4, 5, 7],
    ]


def test_where_other_layers_have_groups_as_many_go_here():
    point = LayerPoint((3, 2, 1, 0), frozenset({0, 1, 2, 3}), num_groups=1, unit=2)
    assert point.without(0) == {1, 2}


def test_impossible_moves_are_refused():
    point = LayerPoint((0, 1, 2, 3), frozenset({1, 2, 3}), protected=frozenset({3}))
    with pytest.raises(ValueError, match=r"expert 3 cannot go: those that can are \[1, 2\]"):
        point.without(3)
    with pytest.raises(ValueError, match="expert 2 cannot come back"):
        point.with_back(2)
    full = LayerPoint((0, 2, 1, 3), frozenset({1, 3}), num_groups=2, unit=2, protected=frozenset({3}))
    with pytest.raises(ValueError, match="too few of group 1 can"):
        full.without(1)


def test_protected_experts_go_behind_all_others():
    point = LayerPoint((0, 1, 2, 3), frozenset({1, 2, 3}), protected=frozenset({1}))
    assert point.in_turn([1, 3, 2, 0]) == (3, 2, 0, 1)
