# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Norms in their fast form: found, replaced and given back."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from threading import Lock
from types import MethodType

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from torch import nn
from transformers.models.olmoe.modeling_olmoe import OlmoeRMSNorm

from optimum_evoesap.kernels.forward.norms import find_rms_norm, replace_rms_norm
from tests.model_matrix import make_model


class GatedRMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(8)), 1e-6

    def forward(self, hidden, gate):
        return hidden * gate


class ScaledRMSNorm(GatedRMSNorm):
    def forward(self, hidden):
        return 1.1 * nn.functional.rms_norm(hidden, (8,), self.weight, self.eps)


@pytest.mark.parametrize("model_type", ["olmoe", "qwen3_next", "gemma4_text", "granitemoehybrid", "kimi_linear"])
def test_norms_of_models_are_found(model_type):
    model = make_model(model_type)
    norms = {module: find_rms_norm(module) for module in model.modules() if "RMSNorm" in type(module).__name__}
    found = {module: norm for module, norm in norms.items() if norm is not None}
    assert found and all("Gated" not in type(module).__name__ for module in found)
    for module, norm in found.items():
        hidden = 3 * torch.randn(4, module.weight.shape[0], device=module.weight.device)
        torch.testing.assert_close(norm(hidden), module(hidden), rtol=1e-4, atol=1e-5)


class GroupedRMSNorm(ScaledRMSNorm):
    """A norm of each half; with random numbers of one size both halves are alike."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(16384))

    def forward(self, hidden):
        halves = hidden.unflatten(-1, (2, -1))
        return self.weight * nn.functional.rms_norm(halves, halves.shape[-1:], None, self.eps).flatten(-2)


class ScaledInputRMSNorm(ScaledRMSNorm):
    """As in muse_spark: the weight comes before the norm; as long as it is one, nothing shows."""

    def forward(self, hidden):
        return nn.functional.rms_norm(hidden * self.weight, (8,), None, self.eps)


class OtherEpsilonRMSNorm(ScaledRMSNorm):
    def forward(self, hidden):
        return nn.functional.rms_norm(hidden, (8,), self.weight, 1e-5)


@pytest.mark.parametrize(
    "norm",
    [GatedRMSNorm(), ScaledRMSNorm(), GroupedRMSNorm(), ScaledInputRMSNorm(), OtherEpsilonRMSNorm(), nn.LayerNorm(8)],
    ids=lambda norm: type(norm).__name__,
)
def test_other_norms_stay(norm):
    assert find_rms_norm(norm) is None


@pytest.mark.parametrize("hooked", [False, True])
def test_a_norm_is_replaced_and_comes_back(hooked):
    """Also under a hook of accelerate's, as in a model over several devices, which has to stay."""
    norm, calls = OlmoeRMSNorm(8, eps=1e-5), []

    class Hook(ModelHook):
        def pre_forward(self, module, *args, **kwargs):
            calls.append(module)
            return args, kwargs

    if hooked:
        add_hook_to_module(norm, Hook())
        norm._hf_hook.lock = Lock()  # what a hook holds is not copied
    hidden, before = torch.randn(3, 8), dict(vars(norm))
    expected = norm(hidden)
    with ExitStack() as undo:
        replace_rms_norm(norm, undo)
        assert vars(norm).keys() - {"forward"} == before.keys() - {"forward"}
        slot = "_old_forward" if hooked else "forward"
        assert isinstance(vars(norm)[slot], partial) and len(calls) == hooked
        calls.clear()
        torch.testing.assert_close(norm(hidden), expected)
        assert len(calls) == hooked
    assert vars(norm) == before


@pytest.mark.parametrize("hooked", [False, True])
def test_a_patched_norm_stays(hooked):
    """Its owner counts on the patch, whatever it computes; also where a hook lies over it."""
    norm = OlmoeRMSNorm(8, eps=1e-5)
    norm.forward = MethodType(lambda self, hidden_states: OlmoeRMSNorm.forward(self, hidden_states), norm)
    if hooked:
        add_hook_to_module(norm, ModelHook())
    before = dict(vars(norm))
    with ExitStack() as undo:
        replace_rms_norm(norm, undo)
        assert vars(norm) == before
