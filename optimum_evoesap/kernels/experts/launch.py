# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Launches [`~kernels.experts.experts_triton`]. A route is one token at one expert; its place is its row."""

from __future__ import annotations

import torch
import triton

from .experts_triton import combine_kernel, silu_gate_kernel, spread_kernel


# Small numbers of columns and rows for the elementwise kernels; see benchmarks/NOTES.md.
_SPREAD_BLOCK = 2048
_GATE_BLOCK, _GATE_ROWS = 1024, 4


def group_routes(indices: torch.Tensor, num_experts: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the routes by expert, each expert's in the order of its tokens.

    Args:
        indices: Expert of each route, shape (tokens, top-k); `num_experts` stands for none and comes last.
        num_experts: Experts in the module.

    Returns:
        The routes in the order of their places; the place of each route; where each expert's places end, int32.
    """
    # Fewer bits are sorted in fewer passes.
    key_dtype = torch.uint8 if num_experts < 255 else torch.int16
    keys = indices.reshape(-1).to(key_dtype)
    sorted_keys, order = torch.sort(keys, stable=True)
    places = torch.empty_like(order, dtype=torch.int32)
    places[order] = torch.arange(order.numel(), dtype=torch.int32, device=order.device)
    numbers = torch.arange(num_experts, device=order.device, dtype=key_dtype)
    return order, places, torch.searchsorted(sorted_keys, numbers, right=True, out_int32=True)


def spread(hidden: torch.Tensor, places: torch.Tensor, num_rows: int | None = None) -> torch.Tensor:
    """Copy the hidden state of each route to its place.

    Args:
        hidden: Shape (tokens, hidden size).
        places: Place of each route, shape (tokens * top-k,), int32.
        num_rows: Rows of the result; by default one for each route.

    Returns:
        Shape (rows, hidden size).
    """
    hidden = hidden.contiguous()
    tokens, hidden_size = hidden.shape
    rows = hidden.new_empty(places.numel() if num_rows is None else num_rows, hidden_size)
    if rows.numel() == 0:
        return rows
    block = min(triton.next_power_of_2(hidden_size), _SPREAD_BLOCK)
    grid = (tokens, triton.cdiv(hidden_size, block))
    with torch.cuda.device_of(hidden):
        spread_kernel[grid](
            hidden, places, rows, hidden_size, TOP_K=places.numel() // tokens, BLOCK_SIZE=block, num_warps=4
        )
    return rows


def silu_gate(gate_up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up of rows that hold gate and up one after the other, shape (rows, 2 * size) to (rows, size)."""
    gate_up = gate_up.contiguous()
    num_rows, size = gate_up.shape[0], gate_up.shape[1] // 2
    gated = gate_up.new_empty(num_rows, size)
    if gated.numel() == 0:
        return gated
    block = min(triton.next_power_of_2(size), _GATE_BLOCK)
    grid = (triton.cdiv(num_rows, _GATE_ROWS), triton.cdiv(size, block))
    with torch.cuda.device_of(gate_up):
        silu_gate_kernel[grid](gate_up, gated, size, ROWS=_GATE_ROWS, BLOCK_SIZE=block, num_rows=num_rows, num_warps=8)
    return gated


def combine(
    outputs: torch.Tensor,
    places: torch.Tensor,
    indices: torch.Tensor,
    weights: torch.Tensor,
    num_experts: int,
    with_norms: bool,
    dtype: torch.dtype | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted sums of the outputs of each token's routes, and the norms of the outputs where asked for.

    Args:
        outputs: Output at each place, shape (rows, hidden size).
        places: Place of each route, shape (tokens * top-k,), int32.
        indices: Expert of each route, shape (tokens, top-k).
        weights: Gate weight of each route, shape (tokens, top-k).
        num_experts: Experts in the module; other indices stand for no expert and add nothing.
        with_norms: Compute the norms.
        dtype: That of the sums; by default that of the outputs.

    Returns:
        Sums of shape (tokens, hidden size), and L2 norms of shape (tokens, top-k) in float32; empty without
        `with_norms`.
    """
    outputs = outputs.contiguous()
    tokens, top_k = indices.shape
    hidden_size = outputs.shape[1]
    combined = outputs.new_empty(tokens, hidden_size, dtype=dtype or outputs.dtype)
    norms = torch.empty(indices.shape if with_norms else 0, dtype=torch.float32, device=outputs.device)
    if combined.numel() == 0:
        return combined, norms
    block = triton.next_power_of_2(hidden_size)
    with torch.cuda.device_of(outputs):
        combine_kernel[(tokens,)](
            outputs, places, indices.contiguous(), weights.contiguous(), combined, norms, hidden_size, num_experts,
            TOP_K=top_k, WITH_NORMS=with_norms, BLOCK_SIZE=block, num_warps=min(max(block // 512, 1), 16),
        )  # fmt: skip
    return combined, norms
