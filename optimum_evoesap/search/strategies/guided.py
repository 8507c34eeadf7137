# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The guided search: measured curves, an exact knapsack, then ever smaller steps around the best point."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ...options import EvoESAPOptions
from ..allocation import Allocation, AllocationSpace
from ..candidate import Candidate
from ..comparison import difference
from ..curves import Curve, levels
from ..knapsack import cheapest
from ..moves import LayerPoint, mutated, points_of
from ..rounds import CALIBRATION, Round
from ..worth import Expert, half_changed, losses_by_count, near_the_cut, order_by, pairs_at
from .guided_effort import (
    FEW_TOKENS,
    LATER_STEP,
    MORE_TOKENS,
    NEAR,
    NEARER,
    NEIGHBOURS,
    NEW_ORDERS,
    NUM_LEVELS,
    SWAP_DEPTH,
    can_move,
    expected_candidates,
    expected_windows,
    first_step,
    windows_of,
)
from .racing import race
from .stepped import SteppedStrategy, Steps
from .strategy import register_strategy


if TYPE_CHECKING:
    from ...calibration.criteria import PruningOrder
    from ...fitness.window_scores import WindowScores

_ROUNDS_OF_SWAPS = 4
_ROUNDS_OF_NEIGHBOURS = 6


@register_strategy("guided")
class Guided(SteppedStrategy):
    """Finds counts from curves of single layers, then which experts, then tries neighbours until none is better.

    Args:
        space: The allowed allocations.
        order: Which experts of a layer go first.
        options: Sizes and seed of the search.
    """

    def __init__(self, space: AllocationSpace, order: PruningOrder, options: EvoESAPOptions):
        super().__init__(space, order, options)
        self._generator = random.Random(options.seed)
        self._now: Mapping[int, Sequence[int]] = {layer: tuple(experts) for layer, experts in order.items()}
        self._best = self.uniform
        self._scores: dict[Candidate, WindowScores] = {}
        self._few, self._more = (windows_of(tokens, options) for tokens in (FEW_TOKENS, MORE_TOKENS))

    @property
    def best(self) -> Candidate:
        """The best of the candidates that were scored on all windows."""
        return self._best

    @property
    def num_candidates(self) -> int:
        """Those of the curves and of the first steps; how many follow depends on what they find."""
        return expected_candidates(self.space)

    def expected_windows(self, available: Mapping[str, int]) -> int:
        """Those of each stage, if it goes round as often as it mostly does.

        Args:
            available: Windows of each kind of data.
        """
        return expected_windows(self.space, self.options, available, self._first_step())

    def steps(self) -> Steps[None]:
        """The whole search."""
        yield from self._try([self.uniform], "uniform")
        yield from self._begin()
        step = self._first_step()
        for _ in range(NEW_ORDERS):
            start = self._best
            yield from self._order_again()
            if can_move(self.space):
                yield from self._walk(step)
            step = LATER_STEP
            if not difference(self._scores[self._best], self._scores[start]).is_clear:
                break
        yield from self._swaps()
        if can_move(self.space):
            yield from self._neighbours()

    @property
    def _points(self) -> dict[int, LayerPoint]:
        return points_of(self._best, self._now, self.space)

    @property
    def _counts(self) -> Allocation:
        return tuple(self._best.removed(self.space.num_experts))

    def _begin(self) -> Steps[None]:
        """Find something to start from."""
        if can_move(self.space):
            yield from self._curves()

    def _first_step(self) -> int:
        """Of the walk, in units."""
        return first_step(self.space)

    def _in_order(self, counts: Iterable[int], order: Mapping[int, Sequence[int]] | None = None) -> Candidate:
        return Candidate.from_order(order or self._now, dict(zip(self.space.layers, counts)))

    def _try(self, candidates: Sequence[Candidate], stage: str) -> Steps[bool]:
        """Score candidates on all windows; whether one is better than the best so far, and clearly so."""
        candidates = [one for one in dict.fromkeys(candidates) if one not in self._scores]
        scores = yield Round(tuple(candidates))
        return self._take(scores, stage)

    def _take(self, scores: dict[Candidate, WindowScores], stage: str) -> bool:
        self._scores |= scores
        before = self._scores[self._best] if self._best in self._scores else None
        best = max(self._scores, key=lambda one: self._scores[one].value)
        is_clear = before is None or difference(self._scores[best], before).is_clear
        self._best = best
        self.history.append(
            {
                "generation": len(self.history),
                "stage": stage,
                "best": self._scores[best].value,
                "uniform": self._scores[self.uniform].value,
                "candidates": len(self._scores),
                "allocation": list(self._counts),
            }
        )
        return is_clear

    def _curves(self) -> Steps[None]:
        """What each layer loses by itself, and the counts of least loss in all."""
        unit, none = self.space.unit, (0,) * len(self.space.layers)
        near = [levels(limit, unit, NUM_LEVELS) if limit else [] for limit in self.space.max_removed]
        tables = yield from self._tables(self._in_order(none), near, self._few)
        yield from self._try([self._in_order(cheapest(tables, self.space.budget, unit))], "curves")

    def _walk(self, step: int) -> Steps[None]:
        """Move around the best counts in steps that become smaller where they no longer help."""
        while step:
            near = [self._near(place, limit, step) for place, limit in enumerate(self.space.max_removed)]
            tables = yield from self._tables(self._best, near, self._more)
            counts, before = cheapest(tables, self.space.budget, self.space.unit), self._best
            if counts != self._counts:
                yield from self._try([self._in_order(counts)], f"steps of {step}")
            if self._best == before:
                step //= 2

    def _tables(
        self, start: Candidate, counts: Sequence[Sequence[int]], num_windows: int
    ) -> Steps[list[dict[int, float]]]:
        """What it costs to remove other counts from one layer, against a candidate whose other layers stay."""
        before = start.removed(self.space.num_experts)
        asked = {
            (place, count): self._in_order(_with(before, place, count))
            for place, others in enumerate(counts)
            for count in others
        }
        scores = yield Round((start, *asked.values()), num_windows)
        tables = []
        for place, now in enumerate(before):
            points = {count: scores[one] for (where, count), one in asked.items() if where == place}
            losses = {count: -difference(each, scores[start]).mean for count, each in points.items()}
            tables.append(Curve.through({now: 0.0} | losses).table(self.space.unit))
        return tables

    def _near(self, place: int, limit: int, step: int) -> list[int]:
        now, unit = self._counts[place], self.space.unit
        near = {now + moves * step * unit for moves in (-2, -1, 1, 2)}
        return sorted({min(max(count, 0), limit) for count in near} - {now})

    def _order_again(self) -> Steps[None]:
        """Measure what the experts near the cut are worth at the best point, and try what follows from it."""
        points, limits = self._points, dict(zip(self.space.layers, self.space.max_removed))
        order: Mapping[int, Sequence[int]] = self._now
        worth: dict[Expert, float] = {}
        for (share, most), num_windows in ((NEAR, self.options.criterion_windows), (NEARER, None)):
            near = [(layer, expert) for layer, expert in near_the_cut(order, points, share, most) if limits[layer]]
            pairs = pairs_at(self._best, near, points, limits)
            candidates = dict.fromkeys(one for pair in pairs.values() for one in (pair.with_it, pair.without))
            scores = yield Round(tuple(candidates), num_windows, CALIBRATION)
            measured = {expert: pair.worth(scores) for expert, pair in pairs.items()}
            order, worth = order_by(measured, order, points), worth | measured
        half = half_changed(self._now, order, worth, points)
        trials = [(order, self._counts), (half, self._counts)]
        if can_move(self.space):
            tables = losses_by_count(worth, order, points, limits)
            trials.append((order, cheapest(tables, self.space.budget, self.space.unit)))
        by_candidate = {self._in_order(counts, orders): orders for orders, counts in reversed(trials)}
        yield from self._try(list(by_candidate), "order measured again")
        self._now = by_candidate.get(self._best, self._now)

    def _kept(self, layer: int, kept: Iterable[int]) -> Candidate:
        return self._best.with_layer(layer, sorted(kept))

    def _swaps(self) -> Steps[None]:
        """Let removed experts take the places of kept ones near the cut, as long as that helps."""
        for _ in range(_ROUNDS_OF_SWAPS):
            points = self._points
            asked = {
                self._kept(layer, kept): (layer, kept)
                for layer, point in points.items()
                for kept in point.swaps(SWAP_DEPTH)
            }
            if not asked:
                return
            scores = yield Round((self._best, *asked), self._more)
            gains = {one: difference(scores[one], scores[self._best]) for one in asked}
            # The best swap of each layer, the largest gain first.
            ranked = sorted((one for one in asked if gains[one].mean > 0), key=lambda one: -gains[one].mean)
            by_layer: dict[int, frozenset[int]] = {}
            for one in ranked:
                by_layer.setdefault(*asked[one])
            if not by_layer:
                return
            together, tried = self._best, []
            for layer, kept in by_layer.items():
                together = together.with_layer(layer, sorted(kept))
                tried.append(together)
            chosen = {0, len(tried) // 4, len(tried) // 2, len(tried) - 1}
            if not (yield from self._try([tried[place] for place in sorted(chosen)], "swaps")):
                return

    def _neighbours(self) -> Steps[None]:
        """Mutations of the best one, raced; until none is clearly better."""
        for _ in range(_ROUNDS_OF_NEIGHBOURS):
            given = (self._best, self._now, self.space, self._generator)
            neighbours = [mutated(*given) for _ in range(4 * NEIGHBOURS)]
            new = [one for one in dict.fromkeys(neighbours) if one not in self._scores][:NEIGHBOURS]
            if not new:
                return
            if not self._take((yield from race(new, self.options.sequence_length)), "neighbours"):
                return


def _with(counts: Sequence[int], place: int, count: int) -> list[int]:
    return [count if each == place else now for each, now in enumerate(counts)]
