# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What experts near the cut are worth at a point, and what follows from it."""

from __future__ import annotations

import pytest

from optimum_evoesap.search.moves import LayerPoint
from optimum_evoesap.search.worth import losses_by_count, near_the_cut, order_by


def point(total, removed, **options):
    order = tuple(reversed(range(total)))
    return LayerPoint(order, frozenset(order[removed:]), **options)


@pytest.mark.parametrize(
    ("total", "share", "most", "reach"), [(16, 0.25, 16, 4), (128, 0.25, 16, 16), (128, 0.125, 16, 16), (4, 0.1, 8, 1)]
)
def test_experts_near_the_cut_are_a_share_of_the_layer_and_not_too_many(total, share, most, reach):
    points = {3: point(total, total // 2)}
    near = near_the_cut({3: points[3].order}, points, share, most)
    cut = total // 2
    assert near == [(3, expert) for expert in points[3].order[cut - reach : cut + reach]]


def test_experts_that_go_together_are_never_torn_apart_and_protected_ones_stay_out():
    points = {0: point(16, 8, num_groups=4, unit=4, protected=frozenset({6}))}
    near = near_the_cut({0: points[0].order}, points, 0.01, 1)
    assert [expert for _, expert in near] == [11, 10, 9, 8, 7, 5, 4]


def test_a_cut_at_the_edge_has_experts_on_one_side_alone():
    points = {0: point(8, 0)}
    assert near_the_cut({0: points[0].order}, points, 0.25, 16) == [(0, 7), (0, 6)]


def test_known_experts_are_sorted_within_the_places_that_they_have():
    points = {0: point(6, 3)}
    worth = {(0, 3): 0.1, (0, 2): -0.2, (0, 4): 0.0}
    assert order_by(worth, {0: points[0].order}, points)[0] == (5, 2, 4, 3, 1, 0)


def test_losses_add_up_away_from_the_cut_until_an_expert_is_unknown_or_no_more_may_go():
    points = {0: point(6, 3)}
    worth = {(0, 3): 0.25, (0, 2): 0.5, (0, 1): 1.0}
    (table,) = losses_by_count(worth, {0: points[0].order}, points, {0: 4})
    assert table == {3: 0.0, 4: 0.5, 2: -0.25}
