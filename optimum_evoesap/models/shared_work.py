# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which work candidates have in common: those that begin with the same layers share them, as branches a trunk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


Kept = Mapping[int, Sequence[int]]

# Forks whose outputs wait at once: each holds one layer's outputs for all windows.
MOST_WAITING = 3


@dataclass(frozen=True)
class Fork:
    """Candidates that are the same in all layers before `layer`.

    Attributes:
        layer: The first sparse layer in which they differ; with one candidate the first sparse layer of all.
        members: The candidates, by number.
        leaves: Candidates that go on from here, in groups that are the same in all layers after `layer`.
        branches: Candidates that share more layers, those with the fewest first.
    """

    layer: int
    members: tuple[int, ...]
    leaves: list[tuple[int, ...]] = field(default_factory=list)
    branches: list[Fork] = field(default_factory=list)


def shared_work(candidates: Sequence[Kept], layers: Sequence[int]) -> Fork:
    """The tree of what candidates share.

    Args:
        candidates: Kept experts by decoder layer; a layer that is not named is whole. At least one.
        layers: Decoder-layer indices of the sparse layers, ascending.
    """
    kept = [[_key(candidate.get(layer)) for layer in layers] for candidate in candidates]
    return _fork(list(range(len(candidates))), kept, layers, 0, 0)


def _fork(
    members: list[int],
    kept: list[list[tuple[int, ...] | None]],
    layers: Sequence[int],
    start: int,
    waiting: int,
) -> Fork:
    differ = (each for each in range(start, len(layers)) if len({kept[one][each] for one in members}) > 1)
    # The same candidate several times may share the last layer too.
    place = next(differ, min(start, len(layers) - 1))
    fork = Fork(layers[place], tuple(members))
    parts: dict[tuple[int, ...] | None, list[int]] = defaultdict(list)
    for one in members:
        parts[kept[one][place]].append(one)
    shares = sorted((part for part in parts.values() if len(part) > 1), key=len)
    # While the last branch runs nothing waits here; the others leave the outputs of this fork waiting.
    room = max(0, MOST_WAITING - waiting)
    alone = [one for part in parts.values() if len(part) == 1 for one in part]
    if len(parts) == 1:
        alone, shares = members, []
    elif len(shares) > 1 and not room:
        alone, shares = alone + [one for part in shares[:-1] for one in part], shares[-1:]
    fork.leaves.extend(_groups(sorted(alone), kept, place))
    fork.branches.extend(
        _fork(part, kept, layers, place + 1, waiting + (number < len(shares) - 1))
        for number, part in enumerate(shares)
    )
    return fork


def _groups(members: list[int], kept: list[list[tuple[int, ...] | None]], place: int) -> list[tuple[int, ...]]:
    groups: dict[tuple[tuple[int, ...] | None, ...], list[int]] = defaultdict(list)
    for one in members:
        groups[tuple(kept[one][place + 1 :])].append(one)
    return [tuple(group) for group in groups.values()]


def _key(experts: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if experts is None else tuple(experts)
