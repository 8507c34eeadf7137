# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Allocations: how many experts go from each sparse layer, and the space of those that are allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random


Allocation = tuple[int, ...]


def budget_of(sparsity: float, num_experts: Sequence[int], unit: int = 1) -> int:
    """Experts to remove in all: the share of each layer, rounded.

    Args:
        sparsity: Share of the experts to remove.
        num_experts: Experts of each sparse layer.
        unit: Experts that go together.
    """
    return sum(unit * round(sparsity * total / unit) for total in num_experts)


@dataclass(frozen=True)
class AllocationSpace:
    """All allocations of a budget: whole multiples of `unit`, within each layer's limit, of exact sum.

    Attributes:
        num_experts: Experts of each sparse layer before pruning.
        max_removed: Most experts that may go from each layer (multiples of `unit`).
        budget: Experts to remove in all (a multiple of `unit`).
        unit: Experts that go together: the number of groups that must stay equal, otherwise 1.
        layers: Decoder-layer indices of the sparse layers, for messages.
        num_groups: For each layer, groups that its router keeps equal; by default one each.
        protected: For each layer, experts that never go; by default none.
    """

    num_experts: tuple[int, ...]
    max_removed: tuple[int, ...]
    budget: int
    unit: int = 1
    layers: tuple[int, ...] = ()
    num_groups: tuple[int, ...] = ()
    protected: tuple[frozenset[int], ...] = ()

    @classmethod
    def from_sparsity(
        cls,
        sparsity: float,
        num_experts: Sequence[int],
        min_kept: Sequence[int],
        unit: int = 1,
        layers: Sequence[int] | None = None,
    ) -> AllocationSpace:
        """The space whose budget is the uniform allocation's: each layer's share of `sparsity`, rounded.

        Rounding in each layer, not over all, makes the uniform allocation of equal layers exactly uniform.

        Args:
            sparsity: Share of the experts to remove.
            num_experts: Experts of each sparse layer.
            min_kept: Fewest experts that each must keep.
            unit: Experts that go together.
            layers: Decoder-layer indices; by default the sparse layers are numbered.

        Raises:
            ValueError: `sparsity` removes nothing or leaves a layer under its minimum; says what is possible.
        """
        return cls.from_limits(num_experts, min_kept, 0, unit, layers).with_sparsity(sparsity)

    @classmethod
    def from_limits(
        cls,
        num_experts: Sequence[int],
        min_kept: Sequence[int],
        budget: int,
        unit: int = 1,
        layers: Sequence[int] | None = None,
    ) -> AllocationSpace:
        """The space of a budget that is known already; see `from_sparsity`.

        Args:
            num_experts: Experts of each sparse layer.
            min_kept: Fewest experts that each must keep.
            budget: Experts to remove in all.
            unit: Experts that go together.
            layers: Decoder-layer indices.
        """
        max_removed = tuple((total - kept) // unit * unit for total, kept in zip(num_experts, min_kept))
        return cls(tuple(num_experts), max_removed, budget, unit, tuple(layers or range(len(num_experts))))

    def with_sparsity(self, sparsity: float) -> AllocationSpace:
        """The same limits with the budget of a sparsity; see `from_sparsity`.

        Args:
            sparsity: Share of the experts to remove.

        Raises:
            ValueError: `sparsity` removes nothing or leaves a layer under its minimum; says what is possible.
        """
        total, most = sum(self.num_experts), sum(self.max_removed)
        budget, largest = budget_of(sparsity, self.num_experts, self.unit), most / total
        if budget > most:
            raise ValueError(
                f"sparsity={sparsity} would remove {budget} of {total} experts, but the layers can lose only {most}, "
                "so that each keeps what its router needs, min_experts and keep: the largest possible sparsity is "
                f"{largest:.4g}."
            )
        if budget == 0:
            raise ValueError(
                f"sparsity={sparsity} rounds to no expert at all in layers of {max(self.num_experts)}; "
                f"give more than {self.unit / max(self.num_experts) / 2:.4g}, at most {largest:.4g}."
            )
        return replace(self, budget=budget)

    @property
    def is_single(self) -> bool:
        """Whether only one allocation is allowed, the uniform one, as with `uniform_counts=True`."""
        return self.budget == sum(self.max_removed)

    def check(self, allocation: Sequence[int]) -> Allocation:
        """Return `allocation` as a tuple if it lies in the space.

        Raises:
            ValueError: Wrong length, range, unit or sum; names the layer and the limit.
        """
        fractions = [count for count in allocation if int(count) != count]
        if fractions:
            raise ValueError(f"The allocation removes {fractions[0]} experts; give whole numbers.")
        counts = tuple(int(count) for count in allocation)
        if len(counts) != len(self.max_removed):
            raise ValueError(
                f"The allocation has {len(counts)} counts, the model {len(self.max_removed)} sparse layers; "
                "give one removed count for each."
            )
        for position, (count, limit) in enumerate(zip(counts, self.max_removed)):
            if not 0 <= count <= limit:
                raise ValueError(
                    f"The allocation removes {count} of {self.num_experts[position]} experts from "
                    f"{self._name(position)}; " + (f"between 0 and {limit} can go." if limit else "none can go.")
                )
            if count % self.unit:
                raise ValueError(
                    f"The allocation removes {count} experts from {self._name(position)}; they are in {self.unit} "
                    f"groups that must stay equal, so give a multiple of {self.unit}."
                )
        if sum(counts) != self.budget:
            raise ValueError(f"The allocation removes {sum(counts)} experts, the budget is {self.budget}.")
        return counts

    def _name(self, position: int) -> str:
        number = f"sparse layer number {position}"
        return f"layer {self.layers[position]} ({number})" if self.layers else number

    def fit(self, weights: Sequence[float]) -> Allocation:
        """The allocation nearest to the budget shared out in proportion to `weights` (non-negative)."""
        total = sum(weights)
        if total <= 0:
            weights, total = self.max_removed, sum(self.max_removed)
        targets = [weight / total * self.budget for weight in weights]
        counts = [min(int(target // self.unit) * self.unit, limit) for target, limit in zip(targets, self.max_removed)]
        while sum(counts) < self.budget:
            open_layers = [i for i, limit in enumerate(self.max_removed) if counts[i] < limit]
            # The layer that is furthest below its share; the first of equals, so that the result is determined.
            furthest = max(open_layers, key=lambda i: (targets[i] - counts[i], -i))
            counts[furthest] += self.unit
        return tuple(counts)

    def uniform(self) -> Allocation:
        """The same share from every layer."""
        return self.fit(self.num_experts)

    def random(self, generator: Random) -> Allocation:
        """A random allocation, from nearly uniform ones to very uneven ones."""
        contrast = generator.uniform(0.5, 3.0)
        return self.fit([total * generator.random() ** contrast for total in self.num_experts])

    def shapes(self) -> list[Allocation]:
        """Plain profiles over depth to start from: rising, falling, peak, edges, front-heavy, back-heavy."""
        depth = [i / max(1, len(self.num_experts) - 1) for i in range(len(self.num_experts))]
        profiles = [
            [0.5 + x for x in depth],
            [1.5 - x for x in depth],
            [1.5 - 2 * abs(x - 0.5) for x in depth],
            [0.5 + 2 * abs(x - 0.5) for x in depth],
            [1.5 if x <= 0.5 else 0.5 for x in depth],
            [0.5 if x < 0.5 else 1.5 for x in depth],
        ]
        return [self.fit([w * total for w, total in zip(profile, self.num_experts)]) for profile in profiles]

    def mutate(self, parent: Allocation, generator: Random, max_delta: int, max_mutations: int) -> Allocation:
        """Level-switch mutation (paper, section 3): move 1 to `max_delta` units between two layers, a few times.

        The number of moves is the smaller of two draws from 1 to `max_mutations`, so that one is the most common.

        Args:
            parent: The allocation to begin with.
            generator: Source of the draws.
            max_delta: Most units in a move.
            max_mutations: Most moves.
        """
        counts = list(parent)
        moves = min(generator.randint(1, max_mutations), generator.randint(1, max_mutations))
        for _ in range(moves):
            givers = [i for i, count in enumerate(counts) if count > 0]
            source = generator.choice(givers)
            takers = [i for i, limit in enumerate(self.max_removed) if i != source and counts[i] < limit]
            if not takers:
                break
            target = generator.choice(takers)
            room = min(counts[source], self.max_removed[target] - counts[target])
            delta = min(generator.randint(1, max_delta) * self.unit, room)
            counts[source] -= delta
            counts[target] += delta
        return tuple(counts)
