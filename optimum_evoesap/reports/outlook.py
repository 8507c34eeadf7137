# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a run is likely to take, as text."""

from __future__ import annotations

from ..search.estimate import RunEstimate
from .text import duration, full_count, short_bytes, table


def describe_estimate(estimate: RunEstimate) -> str:
    """A table of the stages, and what the run needs.

    Args:
        estimate: What is likely.
    """
    rows = [[each.name, full_count(each.windows), _between(each.seconds)] for each in estimate.stages]
    if len(rows) > 1:
        rows.append(["all", full_count(sum(each.windows for each in estimate.stages)), _between(estimate.seconds)])
    times = table(rows, ["stage", "windows, about", "time, about"]) + "\n" if rows else ""
    places = [("on the GPU", estimate.device_bytes), ("on the host", estimate.host_bytes)]
    memory = " and ".join(f"{short_bytes(number)} {where}" for where, number in places if number) or "nothing"
    written = f" Checkpoint: {short_bytes(estimate.checkpoint_bytes)}." if estimate.checkpoint_bytes else ""
    return (
        f"{times}Memory beside the weights: about {memory}.{written}\n"
        "Loading and saving come to that; what an earlier run has left is taken off."
    )


def _between(seconds: tuple[float, float]) -> str:
    low, high = map(duration, seconds)
    return low if low == high else f"{low} to {high}"
