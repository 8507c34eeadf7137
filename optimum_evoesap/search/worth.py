# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What each expert is worth at some candidate, by leaving it out or taking it back there, and the order by that."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .candidate import Candidate
from .comparison import difference
from .moves import LayerPoint


if TYPE_CHECKING:
    from ..fitness.window_scores import WindowScores

# A layer and one of its experts.
Expert = tuple[int, int]


@dataclass(frozen=True)
class Pair:
    """Two candidates that differ by one expert.

    Attributes:
        with_it: The one that has it.
        without: The other one.
    """

    with_it: Candidate
    without: Candidate

    def worth(self, scores: Mapping[Candidate, WindowScores]) -> float:
        """What the expert adds to the score."""
        return difference(scores[self.with_it], scores[self.without]).mean


def pairs_at(
    candidate: Candidate, experts: Iterable[Expert], points: Mapping[int, LayerPoint], limits: Mapping[int, int]
) -> dict[Expert, Pair]:
    """For each of some experts two candidates that tell what it is worth.

    Args:
        candidate: The candidate around which they are.
        experts: The experts.
        points: The layers of the candidate.
        limits: Most experts that may go from each layer.
    """
    pairs = {}
    for layer, expert in experts:
        point = points[layer]
        if expert not in point.kept:
            pairs[layer, expert] = Pair(candidate.with_layer(layer, point.with_back(expert)), candidate)
            continue
        # Where no more experts may go, one comes back before another goes.
        is_full = len(point.order) - len(point.kept) >= limits[layer] and point.removed_in_order
        room = point.returning(point.removed_in_order[0]) if is_full else point
        with_it, without = (candidate.with_layer(layer, kept) for kept in (room.kept, room.without(expert)))
        pairs[layer, expert] = Pair(with_it, without)
    return pairs


def near_the_cut(
    order: Mapping[int, Sequence[int]], points: Mapping[int, LayerPoint], share: float, most: int
) -> list[Expert]:
    """The experts of each layer of which it is the least clear whether they stay.

    Args:
        order: Experts from the first to go to the last.
        points: The layers of a candidate.
        share: Experts on each side of the cut, as a share of all of the layer.
        most: The most on each side, where that is more than the experts which go together.
    """
    near = []
    for layer, point in points.items():
        cut, reach = (
            len(point.order) - len(point.kept),
            max(point.unit, min(most, math.ceil(share * len(point.order)))),
        )
        around = order[layer][max(0, cut - reach) : cut + reach]
        near += [(layer, expert) for expert in around if expert not in point.protected]
    return near


def order_by(
    worth: Mapping[Expert, float], order: Mapping[int, Sequence[int]], points: Mapping[int, LayerPoint]
) -> dict[int, tuple[int, ...]]:
    """An order in which those experts whose worth is known stand by it, in the places that they have among the others.

    Args:
        worth: What some experts of each layer are worth.
        order: Experts from the first to go to the last.
        points: The layers.
    """
    orders = {}
    for layer, experts in order.items():
        known = iter(sorted((each for each in experts if (layer, each) in worth), key=lambda each: worth[layer, each]))
        sorted_in_place = [next(known) if (layer, each) in worth else each for each in experts]
        orders[layer] = points[layer].in_turn(sorted_in_place)
    return orders


def half_changed(
    before: Mapping[int, Sequence[int]],
    order: Mapping[int, Sequence[int]],
    worth: Mapping[Expert, float],
    points: Mapping[int, LayerPoint],
) -> dict[int, Sequence[int]]:
    """A new order in the half of the layers it changes that gain the most by it, and the old one in the others.

    Args:
        before: The old order: experts of each layer from the first to go to the last.
        order: The new one.
        worth: What the experts near the cut are worth.
        points: The layers of the candidate.
    """
    gains = {}
    for layer, point in points.items():
        now = len(point.order) - len(point.kept)
        back, gone = set(before[layer][:now]) - set(order[layer][:now]), set(order[layer][:now]) & point.kept
        if back:
            gains[layer] = sum(worth[layer, one] for one in back) - sum(worth[layer, one] for one in gone)
    ranked = sorted(gains, key=lambda layer: -gains[layer])
    return dict(before) | {layer: order[layer] for layer in ranked[: max(1, len(ranked) // 2)]}


def losses_by_count(
    worth: Mapping[Expert, float],
    order: Mapping[int, Sequence[int]],
    points: Mapping[int, LayerPoint],
    limits: Mapping[int, int],
) -> list[dict[int, float]]:
    """For each layer what removed counts near that of now would cost, if experts did not depend on each other.

    Args:
        worth: What the experts near the cut are worth.
        order: Experts from the first to go to the last.
        points: The layers of the candidate.
        limits: Most experts that may go from each layer.
    """
    tables = []
    for layer, point in points.items():
        now = len(point.order) - len(point.kept)
        table = {now: 0.0}
        for step, experts in ((1, order[layer][now:]), (-1, order[layer][:now][::-1])):
            loss = 0.0
            for number, expert in enumerate(experts, start=1):
                if (layer, expert) not in worth or not 0 <= now + step * number <= limits[layer]:
                    break
                loss += step * worth[layer, expert]
                if number % point.unit == 0:
                    table[now + step * number] = loss
        tables.append(table)
    return tables
