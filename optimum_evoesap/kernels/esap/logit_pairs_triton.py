# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Two logits in a word, and words in the order in which the threads of a product on Hopper hold them."""

from __future__ import annotations

import triton
import triton.language as tl

from ..triton_common import IS_INTERPRETED
from .esap_triton import as_logits


_INTERPRETED = tl.constexpr(IS_INTERPRETED)


@triton.jit
def rounded_pairs(tile, dtype: tl.constexpr):
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
def logits_of_pairs(pairs, scale, soft_cap, dtype: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SOFT_CAP: tl.constexpr):
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
def words_by_thread(pairs):
    """A tile of 128 x 256 logits, word by word, so that words which follow one another are those of one thread.

    Of Hopper's products (PTX, wgmma, "Register Fragments") each of 8 warps has 16 rows. Of each 8 rows x 8 columns
    among them a thread has two neighbours: four threads have a row. Another order would be as right, and slower.
    """
    parts = tl.reshape(pairs, (8, 2, 8, 8, 4, 4))  # warp, upper or lower 8 rows, row, 32 columns, 8 columns, pair
    return tl.reshape(tl.permute(parts, (1, 3, 0, 2, 5, 4)), (128 * 128,))


@triton.jit
def pairs_by_row(words):
    """The tile whose words `words_by_thread` gives."""
    parts = tl.reshape(words, (2, 8, 8, 8, 4, 4))
    return tl.reshape(tl.permute(parts, (2, 0, 3, 1, 5, 4)), (128, 128))
