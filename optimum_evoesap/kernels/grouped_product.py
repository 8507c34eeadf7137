# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Products of each expert's rows with its weight, for which the rows of an expert begin at a whole tile."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
from torch.nn.functional import pad

from . import hopper
from .grouped_product_triton import grouped_product_kernel


@dataclass
class RowTiles:
    """Where the rows of routes lie, tile by tile; rows that no route has hold anything.

    Attributes:
        places: Row of each route, shape (tokens * top-k,), int32.
        num_rows: Rows with room for the last tile of each expert.
        expert_of_tile: Shape (tiles,), int32.
        first_tiles: First tile of each expert, and the number of all, shape (experts + 1,), int32.
    """

    places: torch.Tensor
    num_rows: int
    expert_of_tile: torch.Tensor
    first_tiles: torch.Tensor


def row_tiles(indices: torch.Tensor, places: torch.Tensor, ends: torch.Tensor) -> RowTiles:
    """Move the rows of each expert to a whole tile; nothing waits for the device.

    Args:
        indices: Expert of each route, shape (tokens, top-k); `experts` stands for none.
        places: Row of each route, where the rows of the experts follow one another.
        ends: Where each expert's rows end there, shape (experts,), int32.
    """
    num_experts, num_routes = len(ends), places.numel()
    begins = pad(ends, (1, 0))
    tiles = (begins.diff() + (hopper.ROWS - 1)) // hopper.ROWS
    first_tiles = pad(tiles.cumsum(0, dtype=torch.int32), (1, 0))
    # The last of these moves the routes to no expert.
    shifts = first_tiles * hopper.ROWS - begins
    most_tiles = triton.cdiv(num_routes + (hopper.ROWS - 1) * min(num_routes, num_experts), hopper.ROWS)
    numbers = torch.arange(most_tiles, dtype=torch.int32, device=ends.device)
    return RowTiles(
        places + shifts[indices.reshape(-1)],
        most_tiles * hopper.ROWS,
        torch.searchsorted(first_tiles[1:], numbers, right=True, out_int32=True),
        first_tiles,
    )


def grouped_product(
    rows: torch.Tensor, weight: torch.Tensor, tiles: RowTiles, has_silu_gate: bool = False
) -> torch.Tensor:
    """Each row times the weight of its expert, in the dtype of both.

    Args:
        rows: Shape (rows, inputs).
        weight: Shape (experts, outputs, inputs).
        tiles: Whose the rows are.
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
