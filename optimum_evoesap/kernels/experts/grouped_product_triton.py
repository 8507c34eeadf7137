# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The kernel of [`~kernels.experts.grouped_product`]: rows of each expert times the expert's weight, on Hopper."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def row_tiles_kernel(
    ends, shifts, first_tiles, expert_of_tile, num_experts, most_tiles,
    BLOCK_ROWS: tl.constexpr, EXPERTS: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """First tile of each expert, the expert of each tile, and how far each expert's rows move; one program."""
    experts = tl.arange(0, EXPERTS)
    is_expert = experts < num_experts
    end = tl.load(ends + experts, mask=is_expert, other=0)
    begin = tl.load(ends + experts - 1, mask=(experts > 0) & is_expert, other=0)
    tiles = (end - begin + BLOCK_ROWS - 1) // BLOCK_ROWS
    last_tiles = tl.cumsum(tiles, axis=0)
    tl.store(first_tiles + experts, last_tiles - tiles, mask=is_expert)
    tl.store(shifts + experts, (last_tiles - tiles) * BLOCK_ROWS - begin, mask=is_expert)
    # The last entries are the number of all tiles and the shift of routes to no expert.
    num_tiles, num_rows = tl.sum(tiles, axis=0), tl.max(end, axis=0)
    tl.store(first_tiles + num_experts, num_tiles)
    tl.store(shifts + num_experts, num_tiles * BLOCK_ROWS - num_rows)
    for start in range(0, most_tiles, TILES):
        numbers = start + tl.arange(0, TILES)
        is_later = (last_tiles[None, :] <= numbers[:, None]) & is_expert[None, :]
        tl.store(expert_of_tile + numbers, tl.sum(is_later.to(tl.int32), axis=1), mask=numbers < most_tiles)


@triton.jit
def move_kernel(places, indices, shifts, moved, num_routes, BLOCK_SIZE: tl.constexpr):
    """Each place plus the shift of its expert."""
    routes = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    inside = routes < num_routes
    expert = tl.load(indices + routes, mask=inside, other=0)
    place = tl.load(places + routes, mask=inside, other=0) + tl.load(shifts + expert, mask=inside, other=0)
    tl.store(moved + routes, place, mask=inside)


@triton.jit
def grouped_product_kernel(
    rows, weight, results, expert_of_tile, first_tiles, num_experts, inner_size,
    COLUMN_TILES: tl.constexpr, PIECES: tl.constexpr, HAS_SILU_GATE: tl.constexpr, PROGRAMS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_INNER: tl.constexpr,
):  # fmt: skip
    """A tile of rows belongs to one expert. The tiles of an expert that use the same weight columns come together.

    `weight` has the shape (experts * PIECES, outputs, inner size): a tile takes as many columns from each piece. With
    `HAS_SILU_GATE` the pieces are gate and up, and silu(gate) * up is all that is stored. `flatten` makes one loop of
    two: operands of the next tile are loaded while one is finished.
    """
    WIDTH: tl.constexpr = BLOCK_COLUMNS // PIECES
    HALF: tl.constexpr = BLOCK_COLUMNS // 2
    num_tiles = tl.load(first_tiles + num_experts) * COLUMN_TILES
    for tile in tl.range(tl.program_id(0), num_tiles, PROGRAMS, flatten=True):
        expert = tl.load(expert_of_tile + tile // COLUMN_TILES)
        first = tl.load(first_tiles + expert)
        num_row_tiles = tl.load(first_tiles + expert + 1) - first
        tile_of_expert = tile - first * COLUMN_TILES
        row = (first + tile_of_expert % num_row_tiles) * BLOCK_ROWS
        column = tile_of_expert // num_row_tiles * WIDTH
        total = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), dtype=tl.float32)
        for block in range(tl.cdiv(inner_size, BLOCK_INNER)):
            inner = block * BLOCK_INNER
            columns = tl.reshape(weight.load([expert * PIECES, column, inner]), (BLOCK_COLUMNS, BLOCK_INNER))
            total = tl.dot(rows.load([row, inner]), columns.T, total)
        left, right = tl.split(tl.permute(tl.reshape(total, (BLOCK_ROWS, 2, HALF)), (0, 2, 1)))
        if HAS_SILU_GATE:
            results.store([row, column], (left * tl.sigmoid(left) * right).to(results.dtype))
        else:
            results.store([row, column], left.to(results.dtype))
            results.store([row, column + HALF], right.to(results.dtype))
