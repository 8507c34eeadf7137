# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How much the guided search tries: the sizes of its stages, and what they come to."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ...options import EvoESAPOptions
from ..allocation import AllocationSpace
from ..rounds import CALIBRATION, SEARCH
from .racing import HEATS


# Tokens for what is only a guide, and for what decides a step.
FEW_TOKENS = 6_144
MORE_TOKENS = 12_288
# The experts on each side of the cut that are measured again, on few windows and then on more: a share of the layer's,
# and the most of them. Of 128 experts a share alone would take two thirds of the whole search.
NEAR = 0.25, 16
NEARER = 0.125, 8
# Removal levels of a curve.
NUM_LEVELS = 8
# How often, at most, it is measured again what experts are worth, at the point that was reached by then.
NEW_ORDERS = 3
LATER_STEP = 2
SWAP_DEPTH = 2
NEIGHBOURS = 24


def windows_of(tokens: int, options: EvoESAPOptions) -> int:
    """Windows that hold so many tokens.

    Args:
        tokens: The tokens.
        options: Of which the length of a window is taken.
    """
    return max(1, math.ceil(tokens / options.sequence_length))


def can_move(space: AllocationSpace) -> bool:
    """Whether there is more than one allocation.

    Args:
        space: The allowed allocations.
    """
    return not space.is_single and sum(limit > 0 for limit in space.max_removed) > 1


def first_step(space: AllocationSpace) -> int:
    """A quarter of a layer's experts, in units, as a power of two.

    Args:
        space: The allowed allocations.
    """
    most = max(space.num_experts) // space.unit
    return 1 << max(0, (most // 4).bit_length() - 1)


def expected_candidates(space: AllocationSpace) -> int:
    """Candidates of the curves and of the first steps; how many follow depends on what they find.

    Args:
        space: The allowed allocations.
    """
    layers = sum(limit > 0 for limit in space.max_removed)
    experts = sum(total for total, limit in zip(space.num_experts, space.max_removed) if limit)
    return layers * (NUM_LEVELS + 16) + experts * NEW_ORDERS + layers * 8 + NEIGHBOURS * 2


def expected_windows(
    space: AllocationSpace, options: EvoESAPOptions, available: Mapping[str, int], widest: int
) -> int:
    """Windows of each stage, if it goes round as often as it mostly does.

    Args:
        space: The allowed allocations.
        options: Sizes of the search.
        available: Windows of each kind of data.
        widest: The first step of the walk.
    """
    whole, broad = available[SEARCH], available[CALIBRATION]
    layers = [total for total, limit in zip(space.num_experts, space.max_removed) if limit]
    few, more = (min(windows_of(tokens, options), whole) for tokens in (FEW_TOKENS, MORE_TOKENS))
    first = min(options.criterion_windows, broad)
    steps = widest.bit_length() + LATER_STEP
    curves = len(layers) * NUM_LEVELS * few
    walks = steps * (len(layers) * 4 * more + whole)
    near, nearer = (sum(min(share * total, most) for total in layers) for share, most in (NEAR, NEARER))
    orders = 2 * round(2 * (near * first + nearer * (broad - first)) + 3 * whole)
    swaps = 2 * (len(layers) * SWAP_DEPTH**2 * more + 4 * whole)
    raced = [min(heat.num_windows(options.sequence_length), whole) for heat in HEATS]
    neighbours = 2 * NEIGHBOURS * round(raced[0] + HEATS[0].share * raced[1] + HEATS[1].share * whole)
    return (curves + walks + neighbours if can_move(space) else 0) + orders + swaps
