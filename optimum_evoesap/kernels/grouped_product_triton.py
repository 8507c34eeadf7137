# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The Triton kernel behind [`~kernels.grouped_product`]: rows of each expert times the expert's weight, on Hopper."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def grouped_product_kernel(
    rows, weight, results, expert_of_tile, first_tiles, num_experts, inner_size,
    COLUMN_TILES: tl.constexpr, PIECES: tl.constexpr, HAS_SILU_GATE: tl.constexpr, PROGRAMS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_INNER: tl.constexpr,
):  # fmt: skip
    """A tile of rows belongs to one expert. Expert by expert, columns of its weight meet all its rows, then the next.

    `weight` has the shape (experts * PIECES, outputs, inner size): a tile takes as many columns from each piece. With
    `HAS_SILU_GATE` the pieces are gate and up, and silu(gate) * up is all that is stored. `flatten` makes one loop of
    two: operands of the next tile are on their way while one is finished.
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
