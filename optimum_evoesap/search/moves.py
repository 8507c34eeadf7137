# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Small changes of a candidate: single experts that go, come back, or change places.

Where experts are in groups that must stay equal (group-limited routers), those of the other groups move along: the
next in pruning order of each. Where other layers have more groups, as many move as move there.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .allocation import AllocationSpace
from .candidate import Candidate


@dataclass(frozen=True)
class LayerPoint:
    """One layer of a candidate, with the order in which its experts go.

    Attributes:
        order: All experts of the layer, from the first to go to the last.
        kept: Those that the candidate keeps.
        num_groups: Groups of equal size that the experts are in, one after the other.
        unit: Experts that go together: a multiple of `num_groups`.
        protected: Experts that never go.
    """

    order: tuple[int, ...]
    kept: frozenset[int]
    num_groups: int = 1
    unit: int = 1
    protected: frozenset[int] = frozenset()

    @property
    def removed_in_order(self) -> list[int]:
        """Removed experts, the next to come back first."""
        return [expert for expert in reversed(self.order) if expert not in self.kept]

    @property
    def kept_in_order(self) -> list[int]:
        """Kept experts that may go, the next to go first."""
        return [expert for expert in self.order if expert in self.kept - self.protected]

    def group_of(self, expert: int) -> int:
        """The group that an expert is in."""
        return expert * self.num_groups // len(self.order)

    def without(self, expert: int) -> frozenset[int]:
        """Kept experts when a kept one goes.

        Args:
            expert: The expert.

        Raises:
            ValueError: It is protected or removed already, or too few of some group are left.
        """
        return self.kept - self._moved(expert, self.kept_in_order, "go")

    def with_back(self, expert: int) -> frozenset[int]:
        """Kept experts when a removed one comes back.

        Args:
            expert: The expert.

        Raises:
            ValueError: It is kept already, or too few of some group are removed.
        """
        return self.kept | self._moved(expert, self.removed_in_order, "come back")

    def returning(self, expert: int) -> LayerPoint:
        """The layer when a removed expert comes back."""
        return replace(self, kept=self.with_back(expert))

    def swapped(self, expert: int, other: int) -> frozenset[int]:
        """Kept experts when a removed one takes the place of a kept one of its group.

        Args:
            expert: The removed one.
            other: The kept one.
        """
        return (self.kept - {other}) | {expert}

    def swaps(self, depth: int) -> list[frozenset[int]]:
        """What is kept after each swap of one of the next to come back with one of the next to go in its group.

        Args:
            depth: How many of each are tried.
        """
        tried = []
        for group in range(self.num_groups):
            back, go = (self._of_group(group, each)[:depth] for each in (self.removed_in_order, self.kept_in_order))
            tried += [self.swapped(expert, other) for expert in back for other in go]
        return tried

    def in_turn(self, experts: Sequence[int]) -> tuple[int, ...]:
        """Experts with those of the groups in turn, each group in the order that is given.

        Args:
            experts: All experts of the layer.
        """
        # Protected ones go last.
        ranked = sorted(experts, key=self.protected.__contains__)
        groups = [self._of_group(group, ranked) for group in range(self.num_groups)]
        return tuple(expert for row in zip(*groups) for expert in row)

    def _moved(self, expert: int, in_order: Sequence[int], what: str) -> set[int]:
        """An expert and the next ones, so that equally many of each group move."""
        if expert not in in_order:
            raise ValueError(f"expert {expert} cannot {what}: those that can are {sorted(in_order)}.")
        moved = {expert}
        for group in range(self.num_groups):
            wanted = self.unit // self.num_groups - (self.group_of(expert) == group)
            next_ones = [each for each in self._of_group(group, in_order) if each != expert]
            if len(next_ones) < wanted:
                raise ValueError(f"expert {expert} cannot {what} alone, and too few of group {group} can.")
            moved.update(next_ones[:wanted])
        return moved

    def _of_group(self, group: int, experts: Sequence[int]) -> list[int]:
        return [expert for expert in experts if self.group_of(expert) == group]


def points_of(
    candidate: Candidate, order: Mapping[int, Sequence[int]], space: AllocationSpace
) -> dict[int, LayerPoint]:
    """The layers of a candidate.

    Args:
        candidate: The candidate.
        order: Experts of each layer from the first to go to the last.
        space: Which experts are protected, which are in groups, and how many go together.
    """
    points = {}
    for position, (layer, kept) in enumerate(candidate.layers):
        points[layer] = LayerPoint(
            tuple(order[layer]),
            frozenset(kept),
            space.num_groups[position] if space.num_groups else 1,
            space.unit,
            space.protected[position] if space.protected else frozenset(),
        )
    return points


def mutated(
    candidate: Candidate, order: Mapping[int, Sequence[int]], space: AllocationSpace, generator: random.Random
) -> Candidate:
    """A candidate of the same budget with other counts in up to four layers, by experts near the cut.

    Args:
        candidate: The candidate.
        order: Experts of each layer from the first to go to the last.
        space: The allowed allocations.
        generator: Draws the counts.
    """
    before = tuple(candidate.removed(space.num_experts))
    for layer, now, then in zip(space.layers, before, space.mutate(before, generator, 2, 2)):
        for _ in range(0, abs(then - now), space.unit):
            point = points_of(candidate, order, space)[layer]
            if then > now:
                kept = point.without(point.kept_in_order[0])
            else:
                kept = point.with_back(point.removed_in_order[0])
            candidate = candidate.with_layer(layer, kept)
    return candidate
