# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Criteria: which experts of a layer go first, as a score per expert computed from [`LayerStatistics`]."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ..registry import make_register
from .criterion_names import AUTO, CRITERIA, MEASURED_CRITERIA
from .statistics import ExpertStatistics, LayerStatistics


Criterion = Callable[[LayerStatistics], torch.Tensor]
PruningOrder = dict[int, list[int]]

register_criterion = make_register(CRITERIA, "criterion", apart_from=MEASURED_CRITERIA, reserved=[AUTO])


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
    return _mean(statistics.weighted_norm_sum, statistics)


@register_criterion("reap_renormalised")
def renormalised_activation(statistics: LayerStatistics) -> torch.Tensor:
    """REAP with the gate weights of a token divided by their sum; 0 for an unused expert.

    So do its authors (CerebrasResearch/reap): always in their pass layer by layer, and where the router itself does so
    in the other. Where the router does, this orders as `reap`, which takes the router's own weights.
    """
    return _mean(statistics.renormalised_norm_sum, statistics)


@register_criterion("man")
def mean_activation_norm(statistics: LayerStatistics) -> torch.Tensor:
    """Mean over routed tokens of the L2 norm of the expert's output (MAN, arXiv 2606.15716); 0 for an unused one."""
    return _mean(statistics.norm_sum, statistics)


@register_criterion("msan")
def mean_squared_activation_norm(statistics: LayerStatistics) -> torch.Tensor:
    """Mean over routed tokens of its square (MSAN, arXiv 2606.15716); 0 for an unused expert."""
    return _mean(statistics.squared_norm_sum, statistics)


def score_experts(statistics: ExpertStatistics, criterion: str) -> dict[int, torch.Tensor]:
    """The scores that a criterion made of statistics gives.

    Args:
        statistics: Sums over the calibration data.
        criterion: A name in `CRITERIA`.

    Returns:
        Scores by decoder layer, shape (experts,), float64, on the CPU; a higher score is kept longer.

    Raises:
        ValueError: The criterion gives a wrong shape or a score that is not finite.
    """
    return {
        layer: check_scores(
            criterion, layer, CRITERIA[criterion](layer_statistics), layer_statistics.routed_tokens.numel()
        )
        for layer, layer_statistics in statistics.layers.items()
    }


def check_scores(criterion: str, layer: int, scores: torch.Tensor, num_experts: int) -> torch.Tensor:
    """The scores of one layer in float64 on the CPU, if they are usable.

    Args:
        criterion: Name of the criterion, for the message.
        layer: Index of the decoder layer.
        scores: What the criterion gave.
        num_experts: Routed experts of the layer.

    Raises:
        ValueError: Their shape is wrong, or one is not finite.
    """
    scores = torch.as_tensor(scores).double().cpu()
    if scores.shape != (num_experts,) or not torch.isfinite(scores).all():
        raise ValueError(
            f"Criterion {criterion!r} must give one finite score for each of the {num_experts} experts of layer "
            f"{layer}; it gave {scores.tolist()}."
        )
    return scores


def order_experts(scores: Mapping[int, torch.Tensor], num_groups: Mapping[int, int] | None = None) -> PruningOrder:
    """Order the experts of each layer from the first to go to the last.

    Args:
        scores: Scores by decoder layer, shape (experts,); a higher score is kept longer.
        num_groups: Groups by decoder layer that must stay equal (`MoELayer.num_groups`), 1 where it is not named.
            Experts of such a layer are taken from each group in turn, so that every multiple of the group count
            removes as many from each group.

    Returns:
        Expert indices by decoder layer. Equal scores go by expert index, so the order is always the same.
    """
    return {layer: _order_layer(each, (num_groups or {}).get(layer, 1)) for layer, each in scores.items()}


def _mean(sums: torch.Tensor, statistics: LayerStatistics) -> torch.Tensor:
    return sums / statistics.routed_tokens.clamp(min=1)


def _order_layer(scores: torch.Tensor, num_groups: int) -> list[int]:
    grouped = scores.view(num_groups, -1)
    within = torch.argsort(grouped, dim=1, stable=True)
    experts = within + torch.arange(num_groups)[:, None] * grouped.shape[1]
    return experts.T.reshape(-1).tolist()
