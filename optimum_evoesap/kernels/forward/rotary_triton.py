# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Triton kernel of the rotary position embedding of one tensor, queries or keys."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rotary_kernel(
    states, rotated, cos, sin, batch_stride, head_stride, token_stride, cos_batch_stride, cos_token_stride,
    num_tokens, num_heads, half, HEADS: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    """All heads of one token: first * cos - second * sin, and second * cos + first * sin, in float32."""
    batch = (tl.program_id(0) // num_tokens).to(tl.int64)
    token = (tl.program_id(0) % num_tokens).to(tl.int64)
    columns = tl.arange(0, HALF)[None, :]
    heads = tl.arange(0, HEADS).to(tl.int64)[:, None]
    inside = (columns < half) & (heads < num_heads)
    angle = batch * cos_batch_stride + token * cos_token_stride + columns
    first_cos = tl.load(cos + angle, mask=columns < half, other=0.0).to(tl.float32)
    second_cos = tl.load(cos + angle + half, mask=columns < half, other=0.0).to(tl.float32)
    first_sin = tl.load(sin + angle, mask=columns < half, other=0.0).to(tl.float32)
    second_sin = tl.load(sin + angle + half, mask=columns < half, other=0.0).to(tl.float32)
    place = batch * batch_stride + token * token_stride + heads * head_stride + columns
    first = tl.load(states + place, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(states + place + half, mask=inside, other=0.0).to(tl.float32)
    tl.store(rotated + place, first * first_cos - second * first_sin, mask=inside)
    tl.store(rotated + place + half, second * second_cos + first * second_sin, mask=inside)
