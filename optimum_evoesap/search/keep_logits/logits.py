# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Keep logits: one number an expert, the higher the later it goes; from and to candidates and orders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..allocation import AllocationSpace
from ..candidate import Candidate


# For each layer a number for each expert.
Logits = Mapping[int, Sequence[float]]

# In what starts from an order: the first expert to go and the last one have logits this far from 0; and those on one
# side of the cut of a candidate are so far from those on the other.
_SPREAD = 1.0
_CUT = 1.0


def candidate_of(logits: Logits, space: AllocationSpace) -> Candidate:
    """The candidate of the budget that loses the experts of the lowest logits over all layers.

    A layer loses no more than it may and no protected expert. Experts that go together (groups that stay equal) are
    compared by the mean of their logits, the lowest of each group first. Of equal ones those of earlier layers and
    lower numbers go first.

    Args:
        logits: For each layer of the space.
        space: The allowed allocations.

    Raises:
        ValueError: The layers cannot lose the budget without a protected expert.
    """
    units = sorted(
        (value, place, number, gone)
        for place, layer in enumerate(space.layers)
        for number, (value, gone) in enumerate(_units(place, logits[layer], space))
    )
    chosen = units[: space.budget // space.unit]
    removed: dict[int, set[int]] = {place: set() for place in range(len(space.layers))}
    for _, place, _, gone in chosen:
        removed[place].update(gone)
    if sum(map(len, removed.values())) != space.budget:
        raise ValueError(
            f"The layers can lose {len(units) * space.unit} experts by their limits, which is less than the budget of "
            f"{space.budget}."
        )
    kept = (set(range(total)) - removed[place] for place, total in enumerate(space.num_experts))
    return Candidate(tuple(zip(space.layers, map(tuple, map(sorted, kept)))))


def _units(place: int, logits: Sequence[float], space: AllocationSpace) -> Iterator[tuple[float, list[int]]]:
    """What can go from a layer, unit by unit, with the mean of the logits, which never falls."""
    num_groups = space.num_groups[place] if space.num_groups else 1
    protected = space.protected[place] if space.protected else frozenset()
    size, each = len(logits) // num_groups, space.unit // num_groups
    groups = [
        sorted(
            (expert for expert in range(group * size, (group + 1) * size) if expert not in protected),
            key=lambda expert: logits[expert],
        )
        for group in range(num_groups)
    ]
    for number in range(space.max_removed[place] // space.unit):
        gone = [expert for group in groups for expert in group[number * each : (number + 1) * each]]
        yield sum(logits[expert] for expert in gone) / space.unit, gone


def order_of(logits: Logits, space: AllocationSpace) -> dict[int, list[int]]:
    """The experts of each layer, from the first to go to the last; those of groups in turn, protected ones last.

    Args:
        logits: For each layer of the space.
        space: Says which experts are in groups or protected.
    """
    order = {}
    for place, layer in enumerate(space.layers):
        first = [expert for _, gone in _units(place, logits[layer], space) for expert in gone]
        protected = space.protected[place] if space.protected else frozenset()
        rest = sorted(
            set(range(space.num_experts[place])) - set(first),
            key=lambda expert: (expert in protected, logits[layer][expert]),
        )
        order[layer] = first + rest
    return order


def logits_of_order(order: Mapping[int, Sequence[int]]) -> dict[int, list[float]]:
    """Logits that rise evenly from the first expert to go to the last, alike in all layers.

    Args:
        order: For each layer all its experts, from the first to go to the last.
    """
    found = {}
    for layer, experts in order.items():
        places = {expert: place for place, expert in enumerate(experts)}
        found[layer] = [_SPREAD * (2 * (places[expert] + 0.5) / len(experts) - 1) for expert in sorted(experts)]
    return found


def logits_of_candidate(candidate: Candidate, order: Mapping[int, Sequence[int]]) -> dict[int, list[float]]:
    """Logits of which `candidate_of` makes this candidate, whose experts near the cut are near to each other.

    Args:
        candidate: The candidate.
        order: The experts of each layer from the first to go to the last, for the ranks on each side of the cut.
    """
    found = {}
    for layer, kept in candidate.layers:
        is_kept = set(kept)
        sides = [[one for one in order[layer] if (one in is_kept) == side] for side in (False, True)]
        values = {}
        for sign, experts in ((-1, sides[0][::-1]), (1, sides[1])):
            for place, expert in enumerate(experts):
                values[expert] = sign * (_CUT / 2 + _SPREAD * (place + 0.5) / len(experts))
        found[layer] = [values[expert] for expert in range(len(order[layer]))]
    return found
