# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Candidate`]: what one proposal keeps of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .allocation import AllocationSpace


@dataclass(frozen=True)
class Candidate(Mapping[int, tuple[int, ...]]):
    """The kept experts of each sparse layer, by decoder-layer index; a mapping that can be hashed and written as JSON.

    Attributes:
        layers: Pairs of a decoder layer and its kept experts, ascending.
    """

    layers: tuple[tuple[int, tuple[int, ...]], ...]

    def __post_init__(self) -> None:
        # One candidate has one form, also where it was made of lists or of experts in another order.
        layers = tuple((int(layer), tuple(sorted(map(int, kept)))) for layer, kept in self.layers)
        object.__setattr__(self, "layers", layers)

    @classmethod
    def from_order(cls, order: Mapping[int, Sequence[int]], removed: Mapping[int, int]) -> Candidate:
        """The candidate that loses experts in pruning order.

        Args:
            order: Experts of each layer, from the first to go to the last.
            removed: How many go from each layer.
        """
        return cls(tuple((layer, tuple(sorted(order[layer][count:]))) for layer, count in removed.items()))

    def __getitem__(self, layer: int) -> tuple[int, ...]:
        return dict(self.layers)[layer]

    def __iter__(self) -> Iterator[int]:
        return (layer for layer, _ in self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def with_layer(self, layer: int, kept: Iterable[int]) -> Candidate:
        """The candidate that keeps other experts in one layer.

        Args:
            layer: The decoder layer.
            kept: The experts.
        """
        return Candidate(tuple((each, tuple(kept) if each == layer else old) for each, old in self.layers))

    def removed(self, num_experts: Sequence[int]) -> list[int]:
        """How many experts go from each layer.

        Args:
            num_experts: Experts of each layer before.
        """
        return [total - len(kept) for total, (_, kept) in zip(num_experts, self.layers)]

    def to_json(self) -> dict[str, str]:
        """For each layer a hexadecimal number whose bits are the kept experts: short, with hundreds of experts too."""
        return {str(layer): hex(sum(1 << expert for expert in kept)) for layer, kept in self.layers}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Candidate:
        """What `to_json` gave.

        Raises:
            ValueError: It is something else.
        """
        return cls(tuple((int(layer), _experts(int(bits, 16))) for layer, bits in content.items()))


def check_candidate(candidate: Candidate, space: AllocationSpace, any_budget: bool = False) -> None:
    """Check that a candidate removes what a space allows.

    Args:
        candidate: The candidate.
        space: The allowed allocations.
        any_budget: Whether it may remove more or fewer experts in all.

    Raises:
        ValueError: It names other layers or experts, removes a protected one, leaves groups of experts unequal, or its
            removed counts are not in the space.
    """
    if tuple(candidate) != space.layers:
        raise ValueError(f"it keeps experts of the layers {tuple(candidate)}; the sparse layers are {space.layers}.")
    for position, ((layer, kept), total) in enumerate(zip(candidate.layers, space.num_experts)):
        if len(set(kept)) != len(kept) or not set(kept) <= set(range(total)):
            raise ValueError(f"it keeps the experts {kept} of layer {layer}, which has those from 0 to {total - 1}.")
        removed = sorted(space.protected[position] - set(kept)) if space.protected else []
        if removed:
            raise ValueError(f"it removes the protected experts {removed} of layer {layer}.")
        _check_groups(layer, kept, total, space.num_groups[position] if space.num_groups else 1)
    removed = candidate.removed(space.num_experts)
    (replace(space, budget=sum(removed)) if any_budget else space).check(removed)


def _check_groups(layer: int, kept: Sequence[int], total: int, num_groups: int) -> None:
    size = total // num_groups
    counts = [sum(expert // size == group for expert in kept) for group in range(num_groups)]
    if len(set(counts)) > 1:
        raise ValueError(
            f"it keeps {counts} experts of the {num_groups} groups of layer {layer}, which must stay equal."
        )


def _experts(bits: int) -> tuple[int, ...]:
    return tuple(expert for expert in range(bits.bit_length()) if bits >> expert & 1)
