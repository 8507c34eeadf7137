# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Say why no expert of a model can go: of which layer, and for what cause."""

from __future__ import annotations

from collections.abc import Sequence

from ..adapters import MoELayer


def check_routing(layer: MoELayer) -> None:
    """Raise where a layer has fewer experts than a token is routed to.

    Args:
        layer: The layer.

    Raises:
        ValueError: Its top-k is larger than its number of experts.
    """
    for block in layer.blocks:
        if block.top_k > block.num_experts:
            raise ValueError(
                f"Layer {layer.index} has {block.num_experts} experts, but its router sends each token to "
                f"{block.top_k}, which cannot run: correct the top-k or the number of experts in the config."
            )


def why_none_can_go(layers: Sequence[MoELayer], least: Sequence[int], min_experts: int | None) -> str:
    """The message of a model that can lose nothing, with the cause in each layer.

    Args:
        layers: The sparse layers, none of which can lose an expert.
        least: Fewest experts that each must keep.
        min_experts: What the configuration asks for.
    """
    causes: dict[str, list[int]] = {}
    for layer, fewest in zip(layers, least):
        causes.setdefault(_cause(layer, fewest, min_experts), []).append(layer.index)
    told = "; ".join(f"layers {', '.join(map(str, indices))}: {cause}" for cause, indices in causes.items())
    return f"No expert of this model can go ({told})."


def _cause(layer: MoELayer, fewest: int, min_experts: int | None) -> str:
    if layer.unprunable_reason:
        return layer.unprunable_reason
    experts = f"of {layer.num_experts} experts"
    if layer.num_experts - layer.min_kept < layer.num_groups:
        groups = f", as many from each of its {layer.num_groups} groups" if layer.num_groups > 1 else ""
        return (
            f"{experts} the router needs {min(layer.min_kept, layer.num_experts)}, since a token is routed to "
            f"{layer.top_k} and at least 2 are needed for a choice{groups}"
        )
    if layer.num_experts - max(layer.min_kept, min_experts or 0) < layer.num_groups:
        return f"min_experts={min_experts} {experts} leaves none to remove; give a smaller number"
    return f"keep names so many {experts} that {fewest} stay; name fewer"
