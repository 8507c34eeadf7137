# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Whether a value of an option can be meant.

[`EvoESAPConfig`] asks when it is made; the command line asks before it imports torch, so that a wrong name is told at
once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from .byte_size import parse_size
from .registry import (
    BUILT_IN_CRITERIA,
    BUILT_IN_FITNESSES,
    BUILT_IN_STRATEGIES,
    CRITERIA,
    FITNESSES,
    MEASURED_CRITERIA,
    STRATEGIES,
)
from .suggestion import did_you_mean, shown


# Says what to give in place of a wrong value; nothing of a right one.
Check = Callable[[Any], str | None]


def check_option(name: str, value: Any) -> None:
    """Check one field by itself.

    Args:
        name: A field of [`EvoESAPOptions`].
        value: Its value.

    Raises:
        ValueError: It is none that the field can have.
    """
    remedy = _CHECKS[name](value) if name in _CHECKS else None
    if remedy:
        raise wrong_option(name, value, remedy)


def wrong_option(name: str, value: Any, remedy: str) -> ValueError:
    """The error for a wrong value, to be raised.

    Args:
        name: The field.
        value: Its value.
        remedy: What is wrong with it or what to give.
    """
    return ValueError(f"EvoESAPConfig: {name}={shown(value)} is not valid: {remedy}")


def _one_of(names: Callable[[], Iterable[str]], more: str = "") -> Check:
    def check(value: Any) -> str | None:
        known = list(dict.fromkeys(names()))
        if isinstance(value, str) and value in known:
            return None
        return did_you_mean(str(value)[:100], known, f"choose one of {', '.join(known)}{more}.")

    return check


def _count(low: int, nothing: str = "") -> Check:
    remedy = f"give a whole number of at least {low}{f', or None for {nothing}' if nothing else ''}."
    return lambda value: None if (nothing and value is None) or is_count(value, low) else remedy


def _that(is_right: Callable[[Any], bool], remedy: str) -> Check:
    return lambda value: None if is_right(value) else remedy


def _target_size(value: Any) -> str | None:
    if value is not None:
        try:
            parse_size(value)
        except ValueError as error:
            return str(error)
    return None


def _allocation(value: Any) -> str | None:
    if isinstance(value, str):
        known = [*BUILT_IN_STRATEGIES, "uniform", *STRATEGIES]
        remedy = (
            f"choose {', '.join(BUILT_IN_STRATEGIES)}, uniform or a strategy registered with @register_strategy, or "
            "give the removed counts as a list or dict."
        )
        return None if value in known else did_you_mean(value[:100], known, remedy)
    if isinstance(value, dict) and not all(is_count(layer, 0) or str(layer).isdecimal() for layer in value):
        return "its keys are the indices of decoder layers."
    counts = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(counts, (list, tuple)) or not all(is_count(count, 0) for count in counts):
        return "removed counts are whole numbers of at least 0, one per sparse layer."
    return None if any(counts) else "it removes nothing; remove at least one expert from one layer."


def _keep(value: Any) -> str | None:
    if value is None:
        return None
    remedy = "give a dict from decoder layer to a list of its experts, such as {0: [3, 17], 5: [2]}, or None."
    if not isinstance(value, dict) or not value:
        return remedy
    for layer, experts in value.items():
        is_layer = is_count(layer, 0) or str(layer).isdecimal()
        if not (is_layer and isinstance(experts, (list, tuple)) and all(is_count(each, 0) for each in experts)):
            return remedy
    return None


def _trackers(value: Any) -> str | None:
    names = [value] if isinstance(value, str) else value
    if names is None or (isinstance(names, list) and all(map(_is_name, names))):
        return None
    return "give the name of a tracker, such as trackio, a list of names, or None."


def is_count(value: Any, low: int) -> bool:
    """Whether this is a whole number.

    Args:
        value: What may be one.
        low: The least that it may be.
    """
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def is_number(value: Any, low: float, high: float, open_ends: bool = False) -> bool:
    """Whether this is a number in a range.

    Args:
        value: What may be one.
        low: The least that it may be.
        high: The most.
        open_ends: It may be neither of these.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return low < value < high if open_ends else low <= value <= high


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _own(kind: str) -> str:
    return f" (or register your own with @register_{kind})"


_NAME = _that(_is_name, "give the name or path as a non-empty string.")
_NAME_OR_NONE = _that(lambda value: value is None or _is_name(value), "give the name or path as a non-empty string.")
_TEXT_OR_NONE = _that(lambda value: value is None or isinstance(value, str), "give a string or None.")
_FLAG = _that(lambda value: isinstance(value, bool), "give True or False.")

_CHECKS: dict[str, Check] = {
    "sparsity": _that(
        lambda value: is_number(value, 0, 1, open_ends=True),
        "give the share of experts to remove, strictly between 0 and 1, such as 0.25.",
    ),
    "target_size": _target_size,
    "criterion": _one_of(lambda: (*BUILT_IN_CRITERIA, *CRITERIA, *MEASURED_CRITERIA, "auto"), _own("criterion")),
    "allocation": _allocation,
    "fitness": _one_of(lambda: (*BUILT_IN_FITNESSES, *FITNESSES), _own("fitness")),
    "goal": _one_of(lambda: ("mean", "worst")),
    "criterion_samples": _count(1, "4096 tokens"),
    # None: the data were, or will be, given in memory.
    "calibration_dataset": _NAME_OR_NONE,
    "search_dataset": _NAME_OR_NONE,
    "holdout_fraction": _that(
        lambda value: is_number(value, 0, 1), "give a share between 0 (no held-out comparison) and 1."
    ),
    "sequence_length": _count(2),
    "batch_size": _count(1, "what suits the device"),
    "scored_tokens": _one_of(lambda: ("auto", "all", "answers")),
    "columns": _that(
        lambda value: value is None or (isinstance(value, dict) and all(map(_is_name, value.values()))),
        'give a dict from role to column, such as {"prompt": "question"}, or None.',
    ),
    "data_split": _NAME,
    "data_config": _TEXT_OR_NONE,
    "data_revision": _TEXT_OR_NONE,
    "racing": _that(
        lambda value: value is None or isinstance(value, bool),
        "give True, False, or None for what suits the strategy.",
    ),
    "max_evaluations": _count(1, "no limit"),
    "max_minutes": _that(
        lambda value: value is None or (is_number(value, 0, math.inf) and value > 0),
        "give a number above 0, or None for no limit.",
    ),
    "patience": _count(1, "no limit"),
    "min_experts": _count(1, "max(2, top-k) of the model"),
    "keep": _keep,
    "report_to": _trackers,
    "seed": _count(0),
    **dict.fromkeys(("packing", "skip_unusable_rows", "uniform_counts", "protect_super_experts", "guard"), _FLAG),
    **dict.fromkeys(("calibration_samples", "search_samples", "population_size", "num_elites"), _count(1)),
    **dict.fromkeys(("generations", "max_delta", "max_mutations"), _count(1)),
}
