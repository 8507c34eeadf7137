# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""RMS norms in one pass over memory: torch's `rms_norm` in place of the several passes of transformers' modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn


_EPSILON_NAMES = ("variance_epsilon", "eps", "epsilon")
_PROBE_ROWS = 4


@contextmanager
def fused_norms(model: nn.Module) -> Iterator[None]:
    """A context in which the RMS norms of a model on a GPU run as torch's; those of another form stay as they are."""
    replaced = []
    try:
        for module in model.modules():
            # A forward of its own is a hook of accelerate's, which must stay.
            if "forward" not in vars(module) and (norm := find_rms_norm(module)) is not None:
                vars(module)["forward"] = norm
                replaced.append(module)
        yield
    finally:
        for module in replaced:
            del vars(module)["forward"]


@torch.no_grad()
def find_rms_norm(module: nn.Module, on_any_device: bool = False) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The same norm by torch's function, proven on random numbers; `None` where the module is something else.

    Args:
        module: Any module.
        on_any_device: Look at modules on the CPU too, and in float32.
    """
    if "RMSNorm" not in type(module).__name__:
        return None
    parameters = dict(module.named_parameters())
    weight = parameters.get("weight")
    epsilon = next((getattr(module, name) for name in _EPSILON_NAMES if hasattr(module, name)), None)
    if weight is None or len(parameters) > 1 or weight.dim() != 1 or not isinstance(epsilon, float):
        return None
    if not (on_any_device or (weight.is_cuda and weight.dtype in (torch.bfloat16, torch.float16))):
        return None
    generator = torch.Generator(weight.device).manual_seed(0)
    probe = torch.randn(_PROBE_ROWS, len(weight), generator=generator, device=weight.device)
    # Next to nothing in half of the rows: there epsilon shows.
    probe[: _PROBE_ROWS // 2] *= 1e-3
    probe = probe.to(weight.dtype)
    try:
        expected = module.forward(probe)
    except TypeError:
        return None  # a norm with a gate takes more than one tensor
    for offset in (0, 1):  # Gemma's norms keep the difference from one
        norm = partial(_rms_norm, module=module, offset=offset, epsilon=epsilon)
        found = norm(probe)
        if found.dtype == expected.dtype and torch.allclose(found, expected, rtol=2e-2, atol=1e-3):
            return norm
    return None


def _rms_norm(hidden_states: torch.Tensor, module: Any, offset: int, epsilon: float) -> torch.Tensor:
    weight = module.weight + offset if offset else module.weight
    return nn.functional.rms_norm(hidden_states, weight.shape, weight, epsilon)
