# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Protected experts stand last in the order of their layer, so that they never go."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .criteria import PruningOrder


def protected_last(
    order: PruningOrder, keep: Mapping[int, Collection[int]], num_groups: Mapping[int, int]
) -> PruningOrder:
    """An order whose protected experts come last in each group; the others stay in theirs.

    Args:
        order: Experts of each layer from the first to go to the last, from each group in turn.
        keep: Protected experts by decoder layer.
        num_groups: Router groups by decoder layer, 1 where it is not named.
    """
    return order | {layer: _last(order[layer], set(keep[layer]), num_groups.get(layer, 1)) for layer in keep}


def _last(experts: list[int], protected: set[int], num_groups: int) -> list[int]:
    groups = [sorted(experts[group::num_groups], key=lambda each: each in protected) for group in range(num_groups)]
    return [expert for place in zip(*groups) for expert in place]
