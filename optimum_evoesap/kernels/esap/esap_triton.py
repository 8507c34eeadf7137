# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The Triton kernel behind [`~kernels.esap.esap_rows`]: sum_v min(p_v, q_v) with one read of both logit tensors.

min(p_v, q_v) needs both log-sum-exps first, so a row is needed twice, and two rows of a large vocabulary (600 KB in
bfloat16) are too long for one program to keep. So a row is cut into slices, one program each: a program reads its
slice, publishes the slice's maximum and sum, waits until the other slices of its row have published theirs, and reads
the slice again, by now from the cache of its own multiprocessor. Device memory is read once.

No program waits forever: programs take their slices from a counter in the order in which they start, so the oldest
unfinished row has all its slices running or next to start.
"""

from __future__ import annotations

import triton
import triton.language as tl


LOG2_E = tl.constexpr(1.4426950408889634)
# The maximum of a slice that holds only -inf: finite, so that no difference of infinities arises.
LOWEST = tl.constexpr(-1.0e38)


@triton.jit
def as_logits(raw, scale, soft_cap, HAS_SCALE: tl.constexpr, HAS_SOFT_CAP: tl.constexpr):
    """What the output layer gives, as float32 logits of the model."""
    logits = raw.to(tl.float32)
    if HAS_SCALE:
        logits = logits * scale
    if HAS_SOFT_CAP:
        logits = soft_cap * (2 * tl.sigmoid(2 * logits / soft_cap) - 1)
    return logits


@triton.jit
def _load_logits(
    pointer, offset, columns, end, shift, scale, soft_cap,
    GRANULE: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SOFT_CAP: tl.constexpr,
):  # fmt: skip
    """A slice of the row at `offset` in float32; -inf outside the row."""
    if GRANULE > 1:
        # Whole granules of 16 bytes, also where the row begins or ends inside one: else a row that is not aligned is
        # read an element at a time.
        offset = tl.multiple_of(offset - shift, GRANULE)
        raw = tl.load(pointer + offset + columns, mask=columns // GRANULE * GRANULE < end, other=float("-inf"))
    else:
        raw = tl.load(pointer + offset + columns, mask=columns < end, other=float("-inf"))
    logits = as_logits(raw, scale, soft_cap, HAS_SCALE, HAS_SOFT_CAP)
    if GRANULE > 1 or HAS_SCALE or HAS_SOFT_CAP:
        logits = tl.where((columns >= shift) & (columns < end), logits, float("-inf"))
    return logits


@triton.jit
def _pack(maximum, total):
    """Maximum and sum in one word, so that both can be read at once; never zero, since one of them is not."""
    low = total.to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF
    return (maximum.to(tl.int32, bitcast=True).to(tl.int64) << 32) | low


@triton.jit
def _publish(pointer, logits):
    """Maximum of a slice and the sum of exponentials below it."""
    maximum = tl.maximum(tl.max(logits, axis=0), LOWEST)
    total = tl.sum(tl.exp2((logits - maximum) * LOG2_E), axis=0)
    tl.atomic_xchg(pointer, _pack(maximum, total), sem="relaxed")


@triton.jit
def _collect(pointer, num_slices, SLICES_BLOCK: tl.constexpr):
    """Maximum and sum of a row, once all its slices have published theirs."""
    parts = tl.arange(0, SLICES_BLOCK)
    there = parts < num_slices
    words = tl.load(pointer + parts, mask=there, other=1, volatile=True)
    while tl.min((words != 0).to(tl.int32), axis=0) == 0:
        words = tl.load(pointer + parts, mask=there, other=1, volatile=True)
    maxima = tl.where(there, (words >> 32).to(tl.int32).to(tl.float32, bitcast=True), LOWEST)
    totals = tl.where(there, words.to(tl.int32).to(tl.float32, bitcast=True), 0.0)
    maximum = tl.max(maxima, axis=0)
    return maximum, tl.sum(totals * tl.exp2((maxima - maximum) * LOG2_E), axis=0)


@triton.jit
def overlap_kernel(
    teacher, student, teacher_log_sum_exp, mask, words, overlaps, counter, vocabulary, num_slices, slice_size,
    inner_rows, teacher_outer, teacher_inner, student_outer, student_inner, scale, soft_cap,
    KNOWN: tl.constexpr, HAS_MASK: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SOFT_CAP: tl.constexpr,
    PUBLISH: tl.constexpr, FINISH: tl.constexpr, GRANULE: tl.constexpr, BLOCK_SIZE: tl.constexpr,
    SLICES_BLOCK: tl.constexpr,
):  # fmt: skip
    """The overlap of one slice of one row.

    `words` (rows, 1 or 2 times slices) starts as zeros and takes what the slices publish of the student, and of the
    teacher unless its log-sum-exp is `KNOWN`. `PUBLISH` and `FINISH` are the two phases, in one launch or two.
    """
    ticket = tl.atomic_add(counter, 1, sem="relaxed").to(tl.int32)
    row = ticket // num_slices
    part = ticket % num_slices
    if HAS_MASK:
        if tl.load(mask + row) == 0:
            tl.store(overlaps + row * num_slices + part, 0.0)
            return
    outer, inner = (row // inner_rows).to(tl.int64), (row % inner_rows).to(tl.int64)
    teacher_offset = outer * teacher_outer + inner * teacher_inner
    student_offset = outer * student_outer + inner * student_inner
    shift = 0
    if GRANULE > 1:
        shift = (teacher_offset % GRANULE).to(tl.int32)
    end = tl.minimum((part + 1) * slice_size, vocabulary + shift)
    columns = part * slice_size + tl.arange(0, BLOCK_SIZE)
    student_words = words + row.to(tl.int64) * num_slices * (1 if KNOWN else 2)
    teacher_words = student_words + num_slices

    if PUBLISH:
        student_logits = _load_logits(
            student, student_offset, columns, end, shift, scale, soft_cap, GRANULE, HAS_SCALE, HAS_SOFT_CAP
        )
        if not KNOWN:
            teacher_logits = _load_logits(
                teacher, teacher_offset, columns, end, shift, scale, soft_cap, GRANULE, HAS_SCALE, HAS_SOFT_CAP
            )
            _publish(teacher_words + part, teacher_logits)
        _publish(student_words + part, student_logits)

    if FINISH:
        student_maximum, student_total = _collect(student_words, num_slices, SLICES_BLOCK)
        if KNOWN:
            teacher_maximum, teacher_total = tl.load(teacher_log_sum_exp + row), 1.0
        else:
            teacher_maximum, teacher_total = _collect(teacher_words, num_slices, SLICES_BLOCK)
        teacher_logits = _load_logits(
            teacher, teacher_offset, columns, end, shift, scale, soft_cap, GRANULE, HAS_SCALE, HAS_SOFT_CAP
        )
        student_logits = _load_logits(
            student, student_offset, columns, end, shift, scale, soft_cap, GRANULE, HAS_SCALE, HAS_SOFT_CAP
        )
        # min(p, q) = exp2(min(t - log2(P / Q), s)) / Q with p = exp2(t) / P and q = exp2(s) / Q: one exponential, and
        # the rounding of the difference of the two logarithms is small where teacher and student are close.
        least = tl.minimum(
            (teacher_logits - teacher_maximum) * LOG2_E - tl.log2(teacher_total / student_total),
            (student_logits - student_maximum) * LOG2_E,
            propagate_nan=tl.PropagateNan.ALL,
        )
        tl.store(overlaps + row * num_slices + part, tl.sum(tl.exp2(least), axis=0) / student_total)
