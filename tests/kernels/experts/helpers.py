# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Experts of the model matrix in half precision, and routes to them."""

from __future__ import annotations

import copy

import torch

from tests.kernels.machine import DEVICE, PRODUCT_DTYPES
from tests.model_matrix import layers_of, make_model


PRODUCT_DTYPE = PRODUCT_DTYPES[-1]


def experts_of(model_type: str, dtype: torch.dtype = torch.bfloat16) -> tuple[torch.nn.Module, int]:
    """An experts module in half precision with random weights and biases, and its hidden size."""
    model = make_model(model_type)
    (experts,) = layers_of(model)[0].blocks[0].experts
    first = experts.gate_up_proj if experts.has_gate else experts.up_proj
    return copy.deepcopy(experts).to(DEVICE, dtype), first.shape[1 if experts.is_transposed else 2]


def routes(num_tokens: int, num_experts: int, top_k: int = 2, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    weights, indices = torch.rand(num_tokens, num_experts, generator=generator).topk(top_k)
    return indices.to(DEVICE), weights.bfloat16().to(DEVICE)
