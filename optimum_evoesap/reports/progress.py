# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How far a pruner has come, in a few facts."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedModel

from ..search.allocation import AllocationSpace
from .text import share


STAGES = ("calibrated", "ranked", "searched", "half pruned: apply did not finish", "pruned")


def progress_rows(
    model: PreTrainedModel, space: AllocationSpace, allocation: Sequence[int] | None, outcomes: Sequence[object]
) -> list[tuple[str, str]]:
    """Name and value of each fact.

    Args:
        model: The model that is pruned.
        space: The allocations that are allowed.
        allocation: Experts to remove from each sparse layer, once that is decided.
        outcomes: What each of `STAGES` found; something false for those that have not run.
    """
    fewest, most, total = min(space.num_experts), max(space.num_experts), sum(space.num_experts)
    experts = str(most) if fewest == most else f"{fewest} to {most}"
    budget = sum(allocation) if allocation else space.budget
    reached = [stage for stage, each in zip(STAGES, outcomes) if each]
    return [
        ("model", type(model).__name__),
        ("sparse layers", f"{len(space.num_experts)} x {experts} experts"),
        ("budget", f"{budget} of {total} experts ({share(budget / total)})"),
        ("stage", reached[-1] if reached else "not calibrated yet"),
    ]
