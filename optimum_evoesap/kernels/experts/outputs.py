# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The outputs of the routes: two grouped products with the activation between, by our own kernel or by torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers.activations import SiLUActivation
from transformers.integrations import moe

from ..implementation import runs_products
from .launch import group_routes, silu_gate, spread


if TYPE_CHECKING:
    from .names import ExpertsModule

# Routes in the order of their places, the place of each route, and where each expert's places end.
GroupedRoutes = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def outputs_of_routes(
    experts: ExpertsModule, hidden: torch.Tensor, indices: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the expert of each route makes of its token, and the row of each route in it.

    Args:
        experts: The experts module.
        hidden: Shape (tokens, hidden size).
        indices: Expert of each route, shape (tokens, top-k); the number of experts stands for none.

    Returns:
        Outputs of shape (rows, hidden size), where rows without a route hold any values; the row of each route, shape
        (tokens * top-k,).
    """
    # Read once: with LoRA each read computes the weights again.
    weights = (getattr(experts, _first_weight_name(experts)), experts.down_proj)
    routes = group_routes(indices, experts.num_experts)
    outputs_of = _outputs_by_tiles if _can_tile(experts, *weights) else _outputs_by_torch
    # Some models pass float32; the products are computed in the weights' dtype, as in transformers.
    return outputs_of(experts, weights, hidden.to(weights[1].dtype), indices, routes)


def _outputs_by_tiles(
    experts: ExpertsModule,
    weights: tuple[torch.Tensor, torch.Tensor],
    hidden: torch.Tensor,
    indices: torch.Tensor,
    routes: GroupedRoutes,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The outputs of the routes by our own products, and the row of each route in them."""
    from .grouped_product import grouped_product, row_tiles

    first, second = weights
    _, places, ends = routes
    tiles = row_tiles(indices, places, ends)
    rows = spread(hidden, tiles.places, tiles.num_rows)
    if _has_silu_gate(experts):
        activated = grouped_product(rows, first, tiles, has_silu_gate=True)
    else:
        activated = _activated(experts, grouped_product(rows, first, tiles))
    del rows
    return grouped_product(activated, second, tiles), tiles.places


def _outputs_by_torch(
    experts: ExpertsModule,
    weights: tuple[torch.Tensor, torch.Tensor],
    hidden: torch.Tensor,
    indices: torch.Tensor,
    routes: GroupedRoutes,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by the grouped products of torch."""
    first, second = weights
    order, places, ends = routes
    biases = (None, None)
    if experts.has_bias:
        owners = indices.reshape(-1)[order].clamp(max=experts.num_experts - 1)
        biases = (getattr(experts, f"{_first_weight_name(experts)}_bias")[owners], experts.down_proj_bias[owners])
    projected = moe._grouped_linear(spread(hidden, places), first, ends, biases[0], experts.is_transposed)
    activated = silu_gate(projected) if _has_silu_gate(experts) else _activated(experts, projected)
    del projected
    return moe._grouped_linear(activated, second, ends, biases[1], experts.is_transposed), places


def _activated(experts: ExpertsModule, projected: torch.Tensor) -> torch.Tensor:
    return experts._apply_gate(projected) if experts.has_gate else experts.act_fn(projected)


def _first_weight_name(experts: ExpertsModule) -> str:
    return "gate_up_proj" if experts.has_gate else "up_proj"


def _can_tile(experts: ExpertsModule, *weights: torch.Tensor) -> bool:
    """Whether our own products can do it: no biases, contiguous weights (experts, outputs, inputs), on Hopper."""
    is_plain = not experts.has_bias and not experts.is_transposed
    is_whole = all(weight.is_contiguous() and len(weight) == experts.num_experts for weight in weights)
    return is_plain and is_whole and runs_products(*weights)


def _has_silu_gate(experts: ExpertsModule) -> bool:
    is_default = getattr(type(experts), "_apply_gate", None) is moe._default_apply_gate
    return experts.has_gate and is_default and isinstance(experts.act_fn, (nn.SiLU, SiLUActivation))
