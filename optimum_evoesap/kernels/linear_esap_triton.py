# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The Triton kernels that make ESAP inside the two products of the output layer, for Hopper.

The student's product comes first. It writes its logits once, with the maximum and the sum of each part of a row; these
give the student's log-sum-exp. Then the teacher's product turns each tile of its logits into overlaps right away: the
student's logits are read once, and the teacher's are never written.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .esap_triton import LOG2_E, LOWEST, as_logits


@triton.jit
def _product(
    hidden, weight, row, column, hidden_size,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_HIDDEN: tl.constexpr,
):  # fmt: skip
    """A tile of hidden @ weight.T in float32, as its left and its right half."""
    tile = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), dtype=tl.float32)
    for block in range(tl.cdiv(hidden_size, BLOCK_HIDDEN)):
        start = block * BLOCK_HIDDEN
        tile = tl.dot(hidden.load([row, start]), weight.load([column, start]).T, tile)
    return tl.split(tl.permute(tl.reshape(tile, (BLOCK_ROWS, 2, BLOCK_COLUMNS // 2)), (0, 2, 1)))


@triton.jit
def _rounded(tile, bias, columns, vocabulary, dtype: tl.constexpr, HAS_BIAS: tl.constexpr):
    """What the output layer gives: in the dtype of the model."""
    if HAS_BIAS:
        tile += tl.load(bias + columns, mask=columns < vocabulary, other=0.0).to(tl.float32)[None, :]
    return tile.to(dtype)


@triton.jit
def _within(values, column, vocabulary, WIDTH: tl.constexpr, EVEN: tl.constexpr):
    """-inf behind the vocabulary, where a part of it can end inside a tile."""
    if not EVEN:
        if column + WIDTH > vocabulary:
            columns = column + tl.arange(0, WIDTH)
            values = tl.where(columns[None, :] < vocabulary, values, float("-inf"))
    return values


@triton.jit
def student_kernel(
    hidden, weight, logits, bias, maxima, totals, rows, vocabulary, hidden_size, scale, soft_cap,
    HAS_BIAS: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SOFT_CAP: tl.constexpr, EVEN: tl.constexpr,
    PROGRAMS: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_HIDDEN: tl.constexpr,
):  # fmt: skip
    """The student's logits; of each part of their rows the maximum, and the sum of exponentials below it.

    `maxima` and `totals` have the shape (parts, rows). Tiles that share columns follow one another, so that the weight
    is read once. `flatten` makes one loop of two: operands of the next tile are on their way while one is finished.
    """
    WIDTH: tl.constexpr = BLOCK_COLUMNS // 2
    row_tiles = tl.cdiv(rows, BLOCK_ROWS)
    for tile in tl.range(tl.program_id(0), row_tiles * tl.cdiv(vocabulary, BLOCK_COLUMNS), PROGRAMS, flatten=True):
        row, first = tile % row_tiles * BLOCK_ROWS, tile // row_tiles * BLOCK_COLUMNS
        halves = _product(hidden, weight, row, first, hidden_size, BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_HIDDEN)
        places = row + tl.arange(0, BLOCK_ROWS)
        for half in tl.static_range(2):
            column = first + half * WIDTH
            raw = _rounded(halves[half], bias, column + tl.arange(0, WIDTH), vocabulary, logits.dtype, HAS_BIAS)
            logits.store([row, column], raw)
            values = as_logits(raw, scale, soft_cap, HAS_SCALE, HAS_SOFT_CAP)
            values = _within(values, column, vocabulary, WIDTH, EVEN)
            maximum = tl.maximum(tl.max(values, axis=1), LOWEST)
            total = tl.sum(tl.exp2((values - maximum[:, None]) * LOG2_E), axis=1)
            tl.store(maxima + column // WIDTH * rows + places, maximum, mask=places < rows)
            tl.store(totals + column // WIDTH * rows + places, total, mask=places < rows)


@triton.jit
def log_sum_exp_kernel(
    maxima, totals, log_sum_exp, rows, num_parts, BLOCK_PARTS: tl.constexpr, BLOCK_ROWS: tl.constexpr
):
    """The log-sum-exp of each row from the maxima and totals of its parts."""
    places = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    parts = tl.arange(0, BLOCK_PARTS)[:, None]
    offsets = parts * rows + places[None, :]
    there = (parts < num_parts) & (places < rows)[None, :]
    values = tl.load(maxima + offsets, mask=there, other=LOWEST)
    maximum = tl.max(values, axis=0)
    scaled = tl.load(totals + offsets, mask=there, other=0.0) * tl.exp2((values - maximum[None, :]) * LOG2_E)
    tl.store(log_sum_exp + places, maximum + tl.log(tl.sum(scaled, axis=0)), mask=places < rows)


@triton.jit
def teacher_kernel(
    hidden, weight, logits, bias, teacher_log_sum_exp, student_log_sum_exp, overlaps, rows, vocabulary, hidden_size,
    scale, soft_cap,
    HAS_BIAS: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SOFT_CAP: tl.constexpr, EVEN: tl.constexpr,
    PROGRAMS: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_HIDDEN: tl.constexpr,
):  # fmt: skip
    """sum_v min(p_v, q_v) over each part of a row, from the student's `logits` and the teacher's tile by tile.

    `overlaps` has the shape (parts, rows); the order of the tiles is that of the student's.
    """
    WIDTH: tl.constexpr = BLOCK_COLUMNS // 2
    row_tiles = tl.cdiv(rows, BLOCK_ROWS)
    for tile in tl.range(tl.program_id(0), row_tiles * tl.cdiv(vocabulary, BLOCK_COLUMNS), PROGRAMS, flatten=True):
        row, first = tile % row_tiles * BLOCK_ROWS, tile // row_tiles * BLOCK_COLUMNS
        halves = _product(hidden, weight, row, first, hidden_size, BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_HIDDEN)
        places = row + tl.arange(0, BLOCK_ROWS)
        teacher_sum = tl.load(teacher_log_sum_exp + places, mask=places < rows, other=0.0)
        student_sum = tl.load(student_log_sum_exp + places, mask=places < rows, other=0.0)
        for half in tl.static_range(2):
            column = first + half * WIDTH
            raw = _rounded(halves[half], bias, column + tl.arange(0, WIDTH), vocabulary, logits.dtype, HAS_BIAS)
            teacher = as_logits(raw, scale, soft_cap, HAS_SCALE, HAS_SOFT_CAP) - teacher_sum[:, None]
            student = as_logits(logits.load([row, column]), scale, soft_cap, HAS_SCALE, HAS_SOFT_CAP)
            least = tl.minimum(teacher, student - student_sum[:, None], propagate_nan=tl.PropagateNan.ALL)
            least = _within(least, column, vocabulary, WIDTH, EVEN)
            overlap = tl.sum(tl.exp2(least * LOG2_E), axis=1)
            tl.store(overlaps + column // WIDTH * rows + places, overlap, mask=places < rows)


@triton.jit
def sum_kernel(parts_of_rows, sums, rows, num_parts, BLOCK_PARTS: tl.constexpr, BLOCK_ROWS: tl.constexpr):
    """The sum of the parts of each row."""
    places = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    parts = tl.arange(0, BLOCK_PARTS)[:, None]
    there = (parts < num_parts) & (places < rows)[None, :]
    values = tl.load(parts_of_rows + parts * rows + places[None, :], mask=there, other=0.0)
    tl.store(sums + places, tl.sum(values, axis=0), mask=places < rows)
