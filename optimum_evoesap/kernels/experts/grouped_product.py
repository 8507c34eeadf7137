# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Products of each expert's rows with its weight; the rows of each expert begin at the start of a tile."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton

from .. import hopper
from .grouped_product_triton import grouped_product_kernel, move_kernel, row_tiles_kernel


# Tiles and routes that one program of the two small kernels handles.
_TILES_AT_ONCE, _ROUTES_AT_ONCE = 64, 1024


@dataclass
class RowTiles:
    """The row of each route and the expert of each tile of rows; rows without a route hold any values.

    Attributes:
        places: Row of each route, shape (tokens * top-k,), int32.
        num_rows: Number of all rows; the last tile of each expert is whole too.
        expert_of_tile: Shape (tiles,), int32.
        first_tiles: First tile of each expert, and the number of all, shape (experts + 1,), int32.
    """

    places: torch.Tensor
    num_rows: int
    expert_of_tile: torch.Tensor
    first_tiles: torch.Tensor


def row_tiles(indices: torch.Tensor, places: torch.Tensor, ends: torch.Tensor) -> RowTiles:
    """Move the rows of each expert to the start of a tile; nothing waits for the device.

    Args:
        indices: Expert of each route, shape (tokens, top-k); `experts` stands for none.
        places: Row of each route, where the rows of the experts follow one another.
        ends: Where each expert's rows end there, shape (experts,), int32.
    """
    num_experts, num_routes = len(ends), places.numel()
    most_tiles = triton.cdiv(num_routes + (hopper.ROWS - 1) * min(num_routes, num_experts), hopper.ROWS)
    shifts, first_tiles = ends.new_empty(2, num_experts + 1)
    tiles = RowTiles(torch.empty_like(places), most_tiles * hopper.ROWS, ends.new_empty(most_tiles), first_tiles)
    if num_routes == 0:
        return tiles
    with torch.cuda.device_of(places):
        row_tiles_kernel[(1,)](
            ends, shifts, first_tiles, tiles.expert_of_tile, num_experts, most_tiles, BLOCK_ROWS=hopper.ROWS,
            EXPERTS=triton.next_power_of_2(num_experts), TILES=_TILES_AT_ONCE, num_warps=8,
        )  # fmt: skip
        move_kernel[(triton.cdiv(num_routes, _ROUTES_AT_ONCE),)](
            places, indices.contiguous(), shifts, tiles.places, num_routes, BLOCK_SIZE=_ROUTES_AT_ONCE
        )
    return tiles


def grouped_product(
    rows: torch.Tensor, weight: torch.Tensor, tiles: RowTiles, has_silu_gate: bool = False
) -> torch.Tensor:
    """Each row times the weight of its expert, in the dtype of both.

    Args:
        rows: Shape (rows, inputs).
        weight: Shape (experts, outputs, inputs).
        tiles: Tells which expert the rows of each tile belong to.
        has_silu_gate: The outputs are gate and up, one after the other, and silu(gate) * up is returned.

    Returns:
        Shape (rows, outputs), or (rows, outputs / 2) with a gate.
    """
    num_experts, outputs, inner_size = weight.shape
    pieces = 2 if has_silu_gate else 1
    width, outputs = hopper.COLUMNS // pieces, outputs // pieces
    results = rows.new_empty(rows.shape[0], outputs)
    if results.numel() == 0:
        return results
    programs = hopper.num_programs(rows.device)
    with torch.cuda.device_of(rows):
        grouped_product_kernel[(programs,)](
            hopper.descriptor(rows, hopper.ROWS, hopper.INNER),
            hopper.descriptor(weight.view(num_experts * pieces, outputs, inner_size), pieces, width, hopper.INNER),
            hopper.descriptor(results, hopper.ROWS, hopper.HALF),
            tiles.expert_of_tile, tiles.first_tiles, num_experts, inner_size,
            COLUMN_TILES=triton.cdiv(outputs, width), PIECES=pieces, HAS_SILU_GATE=has_silu_gate, PROGRAMS=programs,
            BLOCK_ROWS=hopper.ROWS, BLOCK_COLUMNS=hopper.COLUMNS, BLOCK_INNER=hopper.INNER, **hopper.OPTIONS,
        )  # fmt: skip
    return results
