# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Criteria: which experts of a layer go first, as a score per expert computed from [`LayerStatistics`]."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..registry import make_register
from .statistics import ExpertStatistics, LayerStatistics


Criterion = Callable[[LayerStatistics], torch.Tensor]
PruningOrder = dict[int, list[int]]

CRITERIA: dict[str, Criterion] = {}
register_criterion = make_register(CRITERIA, "criterion")


@register_criterion("frequency")
def frequency(statistics: LayerStatistics) -> torch.Tensor:
    """Number of tokens routed to the expert."""
    return statistics.routed_tokens.double()


@register_criterion("ean")
def expert_activation_norm(statistics: LayerStatistics) -> torch.Tensor:
    """Sum over routed tokens of the L2 norm of the expert's output."""
    return statistics.norm_sum


@register_criterion("seer")
def soft_counting(statistics: LayerStatistics) -> torch.Tensor:
    """Sum over routed tokens of the gate weight (SEER-MoE)."""
    return statistics.weight_sum


@register_criterion("reap")
def router_weighted_activation(statistics: LayerStatistics) -> torch.Tensor:
    """Mean over routed tokens of gate weight x L2 norm of the expert's output (REAP); 0 for an unused expert."""
    return statistics.weighted_norm_sum / statistics.routed_tokens.clamp(min=1)


def pruning_order(
    statistics: ExpertStatistics, criterion: str, num_groups: dict[int, int] | None = None
) -> PruningOrder:
    """Order the experts of each layer from the first to go to the last.

    Args:
        statistics: Sums over the calibration data.
        criterion: As for `score_experts`.
        num_groups: As for `order_experts`.
    """
    return order_experts(score_experts(statistics, criterion), num_groups)


def score_experts(statistics: ExpertStatistics, criterion: str) -> dict[int, torch.Tensor]:
    """What a criterion gives for each expert, by decoder layer.

    Args:
        statistics: Sums over the calibration data.
        criterion: A name in `CRITERIA`; its function returns shape (experts,), a higher score is kept longer.

    Raises:
        ValueError: The criterion gives a wrong shape or a score that is not finite.
    """
    found = {}
    for layer, layer_statistics in statistics.layers.items():
        scores = torch.as_tensor(CRITERIA[criterion](layer_statistics)).double().cpu()
        if scores.shape != layer_statistics.routed_tokens.shape or not torch.isfinite(scores).all():
            raise ValueError(
                f"Criterion {criterion!r} must give one finite score for each of the "
                f"{layer_statistics.routed_tokens.numel()} experts of layer {layer}; it gave {scores.tolist()}."
            )
        found[layer] = scores
    return found


def order_experts(scores: dict[int, torch.Tensor], num_groups: dict[int, int] | None = None) -> PruningOrder:
    """Order the experts of each layer by their scores, from the first to go to the last.

    Args:
        scores: By decoder layer, shape (experts,); a higher score is kept longer.
        num_groups: Router groups by decoder layer, for group-limited routers. Experts of such a layer are taken from
            each group in turn, so that every multiple of the group count removes as many from each group.

    Returns:
        Expert indices by decoder layer. Equal scores go by expert index, so the order is always the same.
    """
    return {layer: _order_layer(each, (num_groups or {}).get(layer, 1)) for layer, each in scores.items()}


def _order_layer(scores: torch.Tensor, num_groups: int) -> list[int]:
    grouped = scores.view(num_groups, -1)
    within = torch.argsort(grouped, dim=1, stable=True)
    experts = within + torch.arange(num_groups)[:, None] * grouped.shape[1]
    return experts.T.reshape(-1).tolist()
