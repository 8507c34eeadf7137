# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Rotary embedding in its fast form."""

from __future__ import annotations

import importlib

import pytest
import torch

from optimum_evoesap.kernels.forward.rotary import is_common_form, rotate
from tests.kernels.machine import DEVICE


@pytest.mark.parametrize(
    "model_type,common", [("olmoe", True), ("qwen3_moe", True), ("gpt_oss", False), ("ernie4_5_moe", False)]
)
def test_the_common_rotary_form_is_told_from_others(model_type, common):
    module = importlib.import_module(f"transformers.models.{model_type}.modeling_{model_type}")
    assert is_common_form(module.apply_rotary_pos_emb) == common


@pytest.mark.parametrize("heads,head_size,cos_batch", [(1, 8, 1), (5, 48, 2), (32, 128, 2)])
def test_rotary_kernel(heads, head_size, cos_batch):
    pytest.importorskip("triton")
    generator = torch.Generator().manual_seed(0)
    # Heads and tokens lie as a projection leaves them.
    states = torch.randn(2, 6, heads, head_size, generator=generator).bfloat16().to(DEVICE).transpose(1, 2)
    cos, sin = (torch.randn(cos_batch, 6, head_size, generator=generator).bfloat16().to(DEVICE) for _ in range(2))
    found = rotate(states, cos, sin)
    exact, (cos, sin) = states.double(), (each.double()[:, None] for each in (cos, sin))
    first, second = exact.chunk(2, dim=-1)
    expected = exact * cos + torch.cat((-second, first), dim=-1) * sin
    assert found.stride() == states.stride()
    torch.testing.assert_close(found.double(), expected, rtol=1e-2, atol=1e-2)
