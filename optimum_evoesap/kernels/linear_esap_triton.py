# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The Triton kernels that make ESAP inside the two products of the output layer, for Hopper.

The student's product comes first. It writes its logits once, with the maximum and the sum of each part of a row; these
give the student's log-sum-exp. Then the teacher's product turns each tile of its logits into overlaps right away: the
student's logits are read once, and the teacher's are never written.

Nobody else reads the student's logits, so they lie in memory as the threads of a product hold them: each thread writes
and reads its own, straight from and to its registers. Two neighbours of a row, which one thread has, share a word.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .esap_triton import IS_INTERPRETED, LOG2_E, LOWEST, as_logits


_INTERPRETED = tl.constexpr(IS_INTERPRETED)


@triton.jit
def _product(
    hidden, weight, bias, row, column, vocabulary, hidden_size, HAS_BIAS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_HIDDEN: tl.constexpr,
):  # fmt: skip
    """A tile of the output layer's results in float32."""
    tile = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), dtype=tl.float32)
    for block in range(tl.cdiv(hidden_size, BLOCK_HIDDEN)):
        start = block * BLOCK_HIDDEN
        tile = tl.dot(hidden.load([row, start]), weight.load([column, start]).T, tile)
    if HAS_BIAS:
        columns = column + tl.arange(0, BLOCK_COLUMNS)
        tile += tl.load(bias + columns, mask=columns < vocabulary, other=0.0).to(tl.float32)[None, :]
    return tile


@triton.jit
def _rounded_pairs(tile, dtype: tl.constexpr):
    """What the output layer gives, in the dtype of the model: columns 2n and 2n + 1 in the halves of word n.

    One instruction rounds two numbers. Rounded one by one they would go through the unit that makes the exponentials,
    and take as long as these.
    """
    even, odd = tl.split(tl.reshape(tile, (tile.shape[0], tile.shape[1] // 2, 2)))
    if _INTERPRETED:
        low = even.to(dtype).to(tl.uint16, bitcast=True).to(tl.int32)
        high = odd.to(dtype).to(tl.uint16, bitcast=True).to(tl.int32)
        pairs = low | (high << 16)
    elif dtype == tl.bfloat16:
        pairs = tl.inline_asm_elementwise(
            "cvt.rn.bf16x2.f32 $0, $2, $1;", "=r,r,r", [even, odd], dtype=tl.int32, is_pure=True, pack=1
        )
    else:
        pairs = tl.inline_asm_elementwise(
            "cvt.rn.f16x2.f32 $0, $2, $1;", "=r,r,r", [even, odd], dtype=tl.int32, is_pure=True, pack=1
        )
    return pairs


@triton.jit
def _logits_of_pairs(
    pairs, scale, soft_cap, dtype: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SOFT_CAP: tl.constexpr
):
    """The float32 logits of even and of odd columns."""
    if dtype == tl.bfloat16:
        even = (pairs << 16).to(tl.float32, bitcast=True)
        odd = (pairs & -65536).to(tl.float32, bitcast=True)
    else:
        even = (pairs & 0xFFFF).to(tl.uint16).to(dtype, bitcast=True)
        odd = ((pairs >> 16) & 0xFFFF).to(tl.uint16).to(dtype, bitcast=True)
    even = as_logits(even, scale, soft_cap, HAS_SCALE, HAS_SOFT_CAP)
    return even, as_logits(odd, scale, soft_cap, HAS_SCALE, HAS_SOFT_CAP)


@triton.jit
def _words_by_thread(pairs):
    """A tile of 128 x 256 logits, word by word, so that words which follow one another are those of one thread.

    Of Hopper's products (PTX, wgmma, "Register Fragments") each of 8 warps has 16 rows. Of each 8 rows x 8 columns
    among them a thread has two neighbours: four threads have a row. Another order would be as right, and slower.
    """
    parts = tl.reshape(pairs, (8, 2, 8, 8, 4, 4))  # warp, upper or lower 8 rows, row, 32 columns, 8 columns, pair
    return tl.reshape(tl.permute(parts, (1, 3, 0, 2, 5, 4)), (128 * 128,))


@triton.jit
def _pairs_by_row(words):
    """The tile whose words `_words_by_thread` gives."""
    parts = tl.reshape(words, (2, 8, 8, 8, 4, 4))
    return tl.reshape(tl.permute(parts, (2, 0, 3, 1, 5, 4)), (128, 128))


@triton.jit
def _within(even, odd, column, vocabulary, EVEN: tl.constexpr):
    """-inf behind the vocabulary, where it can end inside a tile."""
    if not EVEN:
        if column + 2 * even.shape[1] > vocabulary:
            columns = column + 2 * tl.arange(0, even.shape[1])[None, :]
            even = tl.where(columns < vocabulary, even, float("-inf"))
            odd = tl.where(columns + 1 < vocabulary, odd, float("-inf"))
    return even, odd


@triton.jit
def student_kernel(
    hidden, weight, words, bias, maxima, totals, rows, vocabulary, hidden_size, scale, soft_cap,
    DTYPE: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SOFT_CAP: tl.constexpr,
    EVEN: tl.constexpr, PROGRAMS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_HIDDEN: tl.constexpr,
):  # fmt: skip
    """The student's logits; of each part of their rows the maximum, and the sum of exponentials below it.

    `maxima` and `totals` have the shape (parts, rows). Tiles that share columns follow one another, so that the weight
    is read once. `flatten` makes one loop of two: operands of the next tile are on their way while one is finished.
    """
    WORDS: tl.constexpr = BLOCK_ROWS * BLOCK_COLUMNS // 2
    row_tiles = tl.cdiv(rows, BLOCK_ROWS)
    for tile in tl.range(tl.program_id(0), row_tiles * tl.cdiv(vocabulary, BLOCK_COLUMNS), PROGRAMS, flatten=True):
        row, part = tile % row_tiles * BLOCK_ROWS, tile // row_tiles
        column = part * BLOCK_COLUMNS
        results = _product(
            hidden, weight, bias, row, column, vocabulary, hidden_size, HAS_BIAS,
            BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_HIDDEN,
        )  # fmt: skip
        pairs = _rounded_pairs(results, DTYPE)
        tl.store(words + tl.cast(tile, tl.int64) * WORDS + tl.arange(0, WORDS), _words_by_thread(pairs))
        even, odd = _logits_of_pairs(pairs, scale, soft_cap, DTYPE, HAS_SCALE, HAS_SOFT_CAP)
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
    DTYPE: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SOFT_CAP: tl.constexpr,
    EVEN: tl.constexpr, PROGRAMS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_HIDDEN: tl.constexpr,
):  # fmt: skip
    """sum_v min(p_v, q_v) over each part of a row, from the student's logits and the teacher's tile by tile.

    `overlaps` has the shape (parts, rows); the order of the tiles is that of the student's.
    """
    WORDS: tl.constexpr = BLOCK_ROWS * BLOCK_COLUMNS // 2
    row_tiles = tl.cdiv(rows, BLOCK_ROWS)
    for tile in tl.range(tl.program_id(0), row_tiles * tl.cdiv(vocabulary, BLOCK_COLUMNS), PROGRAMS, flatten=True):
        row, part = tile % row_tiles * BLOCK_ROWS, tile // row_tiles
        column = part * BLOCK_COLUMNS
        results = _product(
            hidden, weight, bias, row, column, vocabulary, hidden_size, HAS_BIAS,
            BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_HIDDEN,
        )  # fmt: skip
        places = row + tl.arange(0, BLOCK_ROWS)
        teacher_sum = tl.load(teacher_log_sum_exp + places, mask=places < rows, other=0.0)[:, None]
        student_sum = tl.load(student_log_sum_exp + places, mask=places < rows, other=0.0)[:, None]
        pairs = _pairs_by_row(tl.load(words + tl.cast(tile, tl.int64) * WORDS + tl.arange(0, WORDS)))
        students = _logits_of_pairs(pairs, scale, soft_cap, DTYPE, HAS_SCALE, HAS_SOFT_CAP)
        pairs = _rounded_pairs(results, DTYPE)
        teachers = _logits_of_pairs(pairs, scale, soft_cap, DTYPE, HAS_SCALE, HAS_SOFT_CAP)
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
