# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Curves of single layers measured by themselves, without a search, and the allocations that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..calibration.criteria import PruningOrder
from ..fitness.slices import SliceScorer
from ..fitness.window_scores import WindowScores
from ..models.progress_bar import ProgressBar
from .allocation import Allocation, AllocationSpace
from .candidate import Candidate
from .comparison import difference
from .curves import Curve, levels
from .knapsack import cheapest


def score_all(scorer: SliceScorer, candidates: Sequence[Candidate], what: str) -> list[WindowScores]:
    """The scores of candidates on all windows; what they have in common runs once.

    Args:
        scorer: Scores them.
        candidates: The candidates; one that comes twice is scored once.
        what: What the progress bar says they are for.
    """
    once = list(dict.fromkeys(candidates))
    found: dict[int, WindowScores] = {}
    with ProgressBar(what, len(once), "candidate") as bar:

        def scored(scores: dict[int, WindowScores]) -> None:
            found.update(scores)
            bar.advance(len(scores))

        scorer.score_each(once, scored)
    by_candidate = {one: found[number] for number, one in enumerate(once)}
    return [by_candidate[one] for one in candidates]


def measure_curves(
    scorer: SliceScorer, order: PruningOrder, limits: AllocationSpace, num_levels: int
) -> dict[int, Curve]:
    """What each layer loses by itself as more and more of its experts go, by decoder layer.

    Args:
        scorer: Scores candidates on a few windows.
        order: Which experts of a layer go first.
        limits: Most experts that may go from each layer.
        num_levels: Removal levels of a curve.
    """
    whole = (0,) * len(limits.layers)
    asked = {
        (place, count): candidate_of(order, limits, [*whole[:place], count, *whole[place + 1 :]])
        for place, limit in enumerate(limits.max_removed)
        for count in (levels(limit, limits.unit, num_levels) if limit else [])
    }
    start, *scores = score_all(scorer, [candidate_of(order, limits, whole), *asked.values()], "curves")
    points: list[dict[int, float]] = [{0: 0.0} for _ in limits.layers]
    for (place, count), each in zip(asked, scores):
        points[place][count] = -difference(each, start).mean
    return {layer: Curve.through(losses) for layer, losses in zip(limits.layers, points)}


def cheapest_by_curves(curves: Mapping[int, Curve], space: AllocationSpace) -> Allocation:
    """The allocation whose layers together lose the least.

    Args:
        curves: The curve of each layer.
        space: The allowed allocations.
    """
    return cheapest([curves[layer].table(space.unit) for layer in space.layers], space.budget, space.unit)


def candidate_of(order: PruningOrder, space: AllocationSpace, allocation: Sequence[int]) -> Candidate:
    """The candidate that loses experts in their order.

    Args:
        order: Which experts of a layer go first.
        space: The allocations.
        allocation: How many go from each layer.
    """
    return Candidate.from_order(order, dict(zip(space.layers, allocation)))
