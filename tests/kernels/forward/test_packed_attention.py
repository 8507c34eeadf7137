# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Attention within documents: read off the mask, compared before it is used, and given back."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from optimum_evoesap.kernels.forward import packed_attention
from optimum_evoesap.kernels.forward.fused_forward import fused_forward
from optimum_evoesap.kernels.forward.packed_attention import attention_function, find_documents
from tests.kernels.machine import ON_GPU
from tests.model_matrix import VOCABULARY, make_model


TOKENS = torch.randint(3, VOCABULARY - 6, (2, 24), generator=torch.Generator().manual_seed(0))


def mask_of(lengths: list[list[int]], window: int | None = None) -> torch.Tensor:
    """What transformers makes for windows of documents of these lengths."""
    total = sum(lengths[0])
    mask = torch.zeros(len(lengths), 1, total, total, dtype=torch.bool)
    for row, documents in enumerate(lengths):
        start = 0
        for length in documents:
            mask[row, 0, start : start + length, start : start + length] = True
            start += length
    seen = torch.ones(total, total, dtype=torch.bool).tril()
    return mask & (seen if window is None else seen & seen.new_ones(total, total).triu(1 - window))


@pytest.mark.parametrize("lengths", [[[7]], [[3, 4], [7]], [[1, 1, 5], [2, 4, 1]]])
def test_documents_are_read_off_their_mask(lengths):
    documents = find_documents(mask_of(lengths))
    flat = torch.tensor([0, *(length for row in lengths for length in row)]).cumsum(0)
    assert documents.bounds.tolist() == flat.tolist() and documents.bounds.dtype == torch.int32
    assert documents.longest == max(length for row in lengths for length in row)


def test_other_masks_part_no_documents():
    windowed = mask_of([[7], [3, 4]], window=3)
    padded, both_ways, hole = (mask_of([[7], [3, 4]]) for _ in range(3))
    padded[0, 0, :, 5:] = False
    both_ways[1, 0, 3:, 3:] = True
    hole[0, 0, 6, 2] = False
    assert all(find_documents(mask) is None for mask in (windowed, padded, both_ways, hole))
    assert find_documents(mask_of([[7]])[..., :5]) is None
    assert find_documents(mask_of([[2, 2, 2, 1]], window=3)) is not None  # the window reaches beyond no document


@pytest.mark.parametrize("has_own", [False, True])
@pytest.mark.parametrize("is_nested", [False, True])
def test_the_table_of_attention_is_left_as_it_was(monkeypatch, has_own, is_nested):
    """By an exception, with a function of the user's own there or none."""

    def own(*args, **kwargs):
        raise NotImplementedError

    def ours(*args, **kwargs):
        raise NotImplementedError

    table = ALL_ATTENTION_FUNCTIONS._local_mapping
    if has_own:
        monkeypatch.setitem(table, "sdpa", own)
    before, seen = dict(table), ALL_ATTENTION_FUNCTIONS["sdpa"]
    with pytest.raises(KeyboardInterrupt), attention_function("sdpa", ours):
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is ours
        if is_nested:
            with attention_function("sdpa", own):
                assert ALL_ATTENTION_FUNCTIONS["sdpa"] is own
            assert ALL_ATTENTION_FUNCTIONS["sdpa"] is ours
        raise KeyboardInterrupt
    assert table == before and ALL_ATTENTION_FUNCTIONS["sdpa"] is seen


@ON_GPU
def test_packed_attention_leaves_a_function_of_the_user(monkeypatch):
    model = make_model("olmoe").to("cuda", torch.bfloat16)
    own = ALL_ATTENTION_FUNCTIONS["sdpa"]
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "sdpa", own)
    with fused_forward(model), fused_forward(model):
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is not own
    assert ALL_ATTENTION_FUNCTIONS._local_mapping["sdpa"] is own


@ON_GPU
@pytest.mark.parametrize("model_type", ["olmoe", "qwen3_moe"])
def test_packed_windows(model_type, caplog):
    """Several documents in a window, in the ways that transformers tells them apart."""
    model = make_model(model_type).to("cuda", torch.bfloat16)
    tokens, calls = TOKENS.cuda(), []
    positions = torch.cat((torch.arange(9), torch.arange(15)))[None].repeat(2, 1).cuda()
    attend = packed_attention._varlen_attention()
    with torch.no_grad():
        slow = model(tokens, position_ids=positions, use_cache=False).logits.float()
        with pytest.MonkeyPatch.context() as patch, fused_forward(model):
            patch.setattr(
                packed_attention, "_varlen_attention", lambda: lambda *a, **k: calls.append(1) or attend(*a, **k)
            )
            fast = model(tokens, position_ids=positions, use_cache=False).logits.float()
            alone = model(tokens[:, 9:], use_cache=False).logits.float()
    assert len(calls) == model.config.num_hidden_layers and "is not used" not in caplog.text
    error = (fast - slow).norm(dim=-1) / slow.norm(dim=-1)
    # Tiny models in bfloat16 differ by a few percent; a document that sees another one differs by all.
    assert error.median().item() < 0.1
    assert ((fast[:, 9:] - alone).norm(dim=-1) / alone.norm(dim=-1)).median().item() < 0.1


@pytest.mark.parametrize("factor,is_used", [(1.0, True), (1.1, False)])
def test_attention_within_documents_is_compared_before_it_is_used(factor, is_used, monkeypatch, caplog):
    """torch's function needs a GPU; here a loop over documents stands for it, right or wrong by a factor."""

    def attend(query, key, value, bounds, _, longest, __, scale, window_size):
        assert longest == int(bounds.diff().max()) and window_size == (-1, 0)
        calls.append(1)
        parts = [slice(start, end) for start, end in zip(bounds.tolist(), bounds.tolist()[1:])]
        inputs = ([each[part].transpose(0, 1)[None] for each in (query, key, value)] for part in parts)
        outputs = [nn.functional.scaled_dot_product_attention(*each, is_causal=True, scale=scale) for each in inputs]
        return factor * torch.cat([each[0].transpose(0, 1) for each in outputs])

    calls: list[int] = []
    monkeypatch.setattr(packed_attention, "_varlen_attention", lambda: attend)
    monkeypatch.setattr(packed_attention, "_fits", lambda *given: True)
    masked = ALL_ATTENTION_FUNCTIONS["sdpa"]
    within = packed_attention._without_mask(masked)
    module = nn.Module()
    module.num_key_value_groups = 2
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(2, heads, 7, 8, generator=generator) for heads in (4, 2, 2)]
    mask = mask_of([[3, 4], [7]])
    expected, _ = masked(module, *states, mask, scaling=0.3)
    for _ in range(2):
        found, _ = within(module, *states, mask, scaling=0.3)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert len(calls) == (2 if is_used else 1)
    assert ("is not used" in caplog.text) == (not is_used)
    windowed = mask_of([[7], [3, 4]], window=3)
    torch.testing.assert_close(within(module, *states, windowed)[0], masked(module, *states, windowed)[0])
    assert len(calls) == (2 if is_used else 1)
