# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The front: what is asked for when one run finds an allocation for each of several sparsities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real

from ..adapters import MoELayer
from ..configuration import EvoESAPConfig
from .allocation import AllocationSpace
from .planning import limits_of, with_uniform_counts


# Digits of a sparsity that tell it from another one; also those of the names of folders.
_DIGITS = 6


def front_configs(config: EvoESAPConfig, sparsities: Iterable[float]) -> dict[float, EvoESAPConfig]:
    """The configuration of each point of a front, by its sparsity, from the smallest to the largest; none comes twice.

    Args:
        config: All other choices.
        sparsities: Shares of the experts to remove.

    Raises:
        ValueError: There are none, one is no share, or the configuration says already how much goes.
    """
    if config.is_explicit or config.target_size is not None:
        given = f"allocation={config.allocation!r}" if config.is_explicit else f"target_size={config.target_size!r}"
        raise ValueError(f"A front has sparsities of its own, and {given} says how much goes: leave it out.")
    if isinstance(sparsities, (str, Real)) or not isinstance(sparsities, Iterable):
        raise ValueError(f"sparsities={sparsities!r} is no list of numbers; give one, such as [0.25, 0.5].")
    numbers = list(sparsities)
    wrong = [each for each in numbers if not isinstance(each, Real) or isinstance(each, bool) or not 0 < each < 1]
    if wrong or not numbers:
        raise ValueError(
            f"sparsities={numbers!r} is not valid: give shares of experts to remove, each strictly between 0 and 1, "
            "such as [0.25, 0.5]."
        )
    return {each: config.replace(sparsity=each) for each in sorted({round(float(each), _DIGITS) for each in numbers})}


def front_spaces(configs: dict[float, EvoESAPConfig], layers: Sequence[MoELayer]) -> dict[float, AllocationSpace]:
    """The allocations that each point of a front allows, by its sparsity. Close sparsities may have the same ones.

    Args:
        configs: The configuration of each point.
        layers: The sparse layers.

    Raises:
        ValueError: A sparsity cannot be reached; says which and what is possible.
    """
    config = next(iter(configs.values()))
    limits = limits_of(config, layers)
    spaces = {sparsity: limits.with_sparsity(sparsity) for sparsity in configs}
    if config.uniform_counts:
        return {sparsity: with_uniform_counts(space, config) for sparsity, space in spaces.items()}
    return spaces
