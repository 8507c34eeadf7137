# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Small changes of a candidate: single experts that go, come back, or change places.

Where experts are in groups that must stay equal (group-limited routers), those of the other groups move along: the
next in pruning order of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .candidate import Candidate


@dataclass(frozen=True)
class LayerPoint:
    """One layer of a candidate, with the order in which its experts go.

    Attributes:
        order: All experts of the layer, from the first to go to the last.
        kept: Those that the candidate keeps.
        unit: Groups of equal size that the experts are in, one after the other.
    """

    order: tuple[int, ...]
    kept: frozenset[int]
    unit: int = 1

    @property
    def removed_in_order(self) -> list[int]:
        """Removed experts, the next to come back first."""
        return [expert for expert in reversed(self.order) if expert not in self.kept]

    @property
    def kept_in_order(self) -> list[int]:
        """Kept experts, the next to go first."""
        return [expert for expert in self.order if expert in self.kept]

    def group_of(self, expert: int) -> int:
        """The group that an expert is in."""
        return expert * self.unit // len(self.order)

    def without(self, expert: int) -> frozenset[int]:
        """Kept experts when a kept one goes."""
        return self.kept - {expert, *self._partners(expert, self.kept_in_order)}

    def with_back(self, expert: int) -> frozenset[int]:
        """Kept experts when a removed one comes back."""
        return self.kept | {expert, *self._partners(expert, self.removed_in_order)}

    def returning(self, expert: int) -> LayerPoint:
        """The layer when a removed expert comes back."""
        return replace(self, kept=self.with_back(expert))

    def swapped(self, expert: int, other: int) -> frozenset[int]:
        """Kept experts when a removed one, `expert`, takes the place of a kept one of its group, `other`."""
        return (self.kept - {other}) | {expert}

    def swaps(self, depth: int) -> list[frozenset[int]]:
        """What is kept after each swap of one of the next to come back with one of the next to go in its group.

        Args:
            depth: How many of each are tried.
        """
        tried = []
        for group in range(self.unit):
            back = [expert for expert in self.removed_in_order if self.group_of(expert) == group][:depth]
            go = [expert for expert in self.kept_in_order if self.group_of(expert) == group][:depth]
            tried += [self.swapped(expert, other) for expert in back for other in go]
        return tried

    def in_turn(self, experts: Sequence[int]) -> tuple[int, ...]:
        """Experts with those of the groups in turn, each group in the order that is given.

        Args:
            experts: All experts of the layer.
        """
        groups = [[expert for expert in experts if self.group_of(expert) == group] for group in range(self.unit)]
        return tuple(expert for row in zip(*groups) for expert in row)

    def _partners(self, expert: int, in_order: Sequence[int]) -> list[int]:
        """The next of each other group."""
        others = [group for group in range(self.unit) if group != self.group_of(expert)]
        return [next(each for each in in_order if self.group_of(each) == group) for group in others]


def points_of(candidate: Candidate, order: Mapping[int, Sequence[int]], unit: int) -> dict[int, LayerPoint]:
    """The layers of a candidate.

    Args:
        candidate: The candidate.
        order: Experts of each layer from the first to go to the last.
        unit: Groups that must stay equal.
    """
    return {layer: LayerPoint(tuple(order[layer]), frozenset(kept), unit) for layer, kept in candidate.layers}
