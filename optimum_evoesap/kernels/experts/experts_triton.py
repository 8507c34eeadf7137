# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Triton kernels around the two grouped products of an experts module: gather, activation and weighted sum."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def spread_kernel(
    hidden, places, spread, hidden_size, TOP_K: tl.constexpr, BLOCK_SIZE: tl.constexpr
):  # fmt: skip
    """Write the hidden state of a token, read once, to each of the places that its routes have."""
    token = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    inside = columns < hidden_size
    row = tl.load(hidden + token * hidden_size + columns, mask=inside)
    for route in tl.static_range(TOP_K):
        place = tl.load(places + token * TOP_K + route).to(tl.int64)
        tl.store(spread + place * hidden_size + columns, row, mask=inside)


@triton.jit
def silu_gate_kernel(gate_up, gated, size, ROWS: tl.constexpr, BLOCK_SIZE: tl.constexpr, num_rows):
    """silu(gate) * up, where a row of `gate_up` holds first all of the gate, then all of up."""
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    columns = (tl.program_id(1) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE))[None, :]
    inside = (rows < num_rows) & (columns < size)
    gate = tl.load(gate_up + rows * 2 * size + columns, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + rows * 2 * size + size + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(gated + rows * size + columns, gate * tl.sigmoid(gate) * up, mask=inside)


@triton.jit
def combine_kernel(
    outputs, places, experts, weights, combined, norms, hidden_size, num_experts,
    TOP_K: tl.constexpr, WITH_NORMS: tl.constexpr, BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    """The weighted sum of the outputs of a token's routes, in float32, and on the way the norm of each output."""
    token = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK_SIZE)
    inside = columns < hidden_size
    total = tl.zeros((BLOCK_SIZE,), dtype=tl.float32)
    for route in tl.static_range(TOP_K):
        index = token * TOP_K + route
        # Other numbers stand for no expert: nothing was computed in their place.
        expert = tl.load(experts + index)
        is_expert = (expert >= 0) & (expert < num_experts)
        place = tl.load(places + index).to(tl.int64)
        weight = tl.load(weights + index).to(tl.float32)
        output = tl.load(outputs + place * hidden_size + columns, mask=inside & is_expert, other=0.0).to(tl.float32)
        total += weight * output
        if WITH_NORMS:
            tl.store(norms + index, tl.sqrt(tl.sum(output * output)))
    tl.store(combined + token * hidden_size + columns, total, mask=inside)
