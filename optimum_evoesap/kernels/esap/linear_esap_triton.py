# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The Triton kernels that compute ESAP inside the two products of the output layer, for Hopper.

The student's product comes first. It writes its logits once, with the maximum and the sum of each part of a row; these
give the student's log-sum-exp. Then the teacher's product turns each tile of its logits into overlaps right away: the
student's logits are read once, and the teacher's are never written.

No other kernel reads the student's logits, so they are stored in the order in which the threads of a product hold
them: each thread writes and reads its own, directly from and to its registers. A word holds two neighbouring logits.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .esap_triton import LOG2_E, LOWEST
from .logit_pairs_triton import logits_of_pairs, pairs_by_row, rounded_pairs, words_by_thread


@triton.jit
def _product(
    hidden, weight, bias, row, column, vocabulary, hidden_size, HAS_BIAS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_HIDDEN: tl.constexpr,
):  # fmt: skip
    """A tile of what the output layer gives, as rounded pairs."""
    tile = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), dtype=tl.float32)
    for block in range(tl.cdiv(hidden_size, BLOCK_HIDDEN)):
        start = block * BLOCK_HIDDEN
        tile = tl.dot(hidden.load([row, start]), weight.load([column, start]).T, tile)
    if HAS_BIAS:
        columns = column + tl.arange(0, BLOCK_COLUMNS)
        tile += tl.load(bias + columns, mask=columns < vocabulary, other=0.0).to(tl.float32)[None, :]
    return rounded_pairs(tile, hidden.dtype)


@triton.jit
def _within(even, odd, column, vocabulary, EVEN: tl.constexpr):
    """-inf past the vocabulary, where it can end inside a tile."""
    if not EVEN:
        if column + 2 * even.shape[1] > vocabulary:
            columns = column + 2 * tl.arange(0, even.shape[1])[None, :]
            even = tl.where(columns < vocabulary, even, float("-inf"))
            odd = tl.where(columns + 1 < vocabulary, odd, float("-inf"))
    return even, odd


@triton.jit
def student_kernel(
    hidden, weight, words, bias, maxima, totals, rows, vocabulary, hidden_size, scale, soft_cap,
    HAS_BIAS: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SOFT_CAP: tl.constexpr, EVEN: tl.constexpr,
    PROGRAMS: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_HIDDEN: tl.constexpr,
):  # fmt: skip
    """The student's logits; of each part of their rows the maximum, and the sum of exponentials below it.

    `maxima` and `totals` have the shape (parts, rows). Tiles that share columns follow one another, so that the weight
    is read once. `flatten` makes one loop of two: operands of the next tile are loaded while one is finished.
    """
    WORDS: tl.constexpr = BLOCK_ROWS * BLOCK_COLUMNS // 2
    row_tiles = tl.cdiv(rows, BLOCK_ROWS)
    for tile in tl.range(tl.program_id(0), row_tiles * tl.cdiv(vocabulary, BLOCK_COLUMNS), PROGRAMS, flatten=True):
        row, part = tile % row_tiles * BLOCK_ROWS, tile // row_tiles
        column = part * BLOCK_COLUMNS
        pairs = _product(
            hidden, weight, bias, row, column, vocabulary, hidden_size, HAS_BIAS,
            BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_HIDDEN,
        )  # fmt: skip
        tl.store(words + tl.cast(tile, tl.int64) * WORDS + tl.arange(0, WORDS), words_by_thread(pairs))
        even, odd = logits_of_pairs(pairs, scale, soft_cap, hidden.dtype, HAS_SCALE, HAS_SOFT_CAP)
        even, odd = _within(even, odd, column, vocabulary, EVEN)
        maximum = tl.maximum(tl.max(tl.maximum(even, odd), axis=1), LOWEST)
        below = tl.exp2((even - maximum[:, None]) * LOG2_E) + tl.exp2((odd - maximum[:, None]) * LOG2_E)
        places = row + tl.arange(0, BLOCK_ROWS)
        tl.store(maxima + part * rows + places, maximum, mask=places < rows)
        tl.store(totals + part * rows + places, tl.sum(below, axis=1), mask=places < rows)


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
    hidden, weight, words, bias, teacher_log_sum_exp, student_log_sum_exp, overlaps, rows, vocabulary, hidden_size,
    scale, soft_cap,
    HAS_BIAS: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SOFT_CAP: tl.constexpr, EVEN: tl.constexpr,
    PROGRAMS: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_HIDDEN: tl.constexpr,
):  # fmt: skip
    """sum_v min(p_v, q_v) over each part of a row, from the student's logits and the teacher's tile by tile.

    `overlaps` has the shape (parts, rows); the order of the tiles is that of the student's.
    """
    WORDS: tl.constexpr = BLOCK_ROWS * BLOCK_COLUMNS // 2
    row_tiles = tl.cdiv(rows, BLOCK_ROWS)
    for tile in tl.range(tl.program_id(0), row_tiles * tl.cdiv(vocabulary, BLOCK_COLUMNS), PROGRAMS, flatten=True):
        row, part = tile % row_tiles * BLOCK_ROWS, tile // row_tiles
        column = part * BLOCK_COLUMNS
        pairs = _product(
            hidden, weight, bias, row, column, vocabulary, hidden_size, HAS_BIAS,
            BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_HIDDEN,
        )  # fmt: skip
        places = row + tl.arange(0, BLOCK_ROWS)
        teacher_sum = tl.load(teacher_log_sum_exp + places, mask=places < rows, other=0.0)[:, None]
        student_sum = tl.load(student_log_sum_exp + places, mask=places < rows, other=0.0)[:, None]
        students = pairs_by_row(tl.load(words + tl.cast(tile, tl.int64) * WORDS + tl.arange(0, WORDS)))
        students = logits_of_pairs(students, scale, soft_cap, hidden.dtype, HAS_SCALE, HAS_SOFT_CAP)
        teachers = logits_of_pairs(pairs, scale, soft_cap, hidden.dtype, HAS_SCALE, HAS_SOFT_CAP)
        even = tl.minimum(teachers[0] - teacher_sum, students[0] - student_sum, propagate_nan=tl.PropagateNan.ALL)
        odd = tl.minimum(teachers[1] - teacher_sum, students[1] - student_sum, propagate_nan=tl.PropagateNan.ALL)
        even, odd = _within(even, odd, column, vocabulary, EVEN)
        overlap = tl.sum(tl.exp2(even * LOG2_E) + tl.exp2(odd * LOG2_E), axis=1)
        tl.store(overlaps + part * rows + places, overlap, mask=places < rows)


@triton.jit
def sum_kernel(parts_of_rows, sums, rows, num_parts, BLOCK_PARTS: tl.constexpr, BLOCK_ROWS: tl.constexpr):
    """The sum of the parts of each row."""
    places = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    parts = tl.arange(0, BLOCK_PARTS)[:, None]
    there = (parts < num_parts) & (places < rows)[None, :]
    values = tl.load(parts_of_rows + parts * rows + places[None, :], mask=there, other=0.0)
    tl.store(sums + places, tl.sum(values, axis=0), mask=places < rows)
