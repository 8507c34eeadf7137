# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The experts that stay, from a pruning order and how many go."""

from __future__ import annotations

from ..calibration.criteria import PruningOrder


def kept_experts(order: PruningOrder, removed: dict[int, int]) -> dict[int, list[int]]:
    """The experts that stay in each decoder layer, ascending, when `removed` of them go in pruning order."""
    return {layer: sorted(order[layer][count:]) for layer, count in removed.items()}
