# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""RMS norms in one pass over memory: torch's `rms_norm` in place of the several passes of transformers' modules."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn


_EPSILON_NAMES = ("variance_epsilon", "eps", "epsilon")
_HALF = (torch.bfloat16, torch.float16)


@contextmanager
def fused_norms(model: nn.Module) -> Iterator[None]:
    """A context in which the RMS norms of a model in half precision on a GPU run as torch's; other norms stay."""
    with ExitStack() as undo:
        for module in model.modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, torch.Tensor) and weight.is_cuda and weight.dtype in _HALF:
                replace_rms_norm(module, undo)
        yield


def replace_rms_norm(module: nn.Module, undo: ExitStack) -> None:
    """Run a module by torch's function where it is an RMS norm.

    Args:
        module: Any module.
        undo: Gets what undoes it.
    """
    # Where a model is spread over devices, accelerate has put its hook in `forward`, and that calls `_old_forward`.
    name = "_old_forward" if hasattr(module, "_hf_hook") else "forward"
    before = vars(module).get(name)
    if before is not None and getattr(before, "__func__", None) is not type(module).forward:
        return  # patched by other code, which may need its patch
    norm = find_rms_norm(module)
    if norm is not None:
        vars(module)[name] = norm
        undo.callback(delattr, module, name) if before is None else undo.callback(setattr, module, name, before)


@torch.no_grad()
def find_rms_norm(module: Any) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The same norm by torch's function; `None` where the module is something else.

    A copy of the module is tried in float32 with weights and inputs of all sizes. This detects norms over groups,
    norms that scale or clamp their input, and constants other than the epsilon.
    """
    takes_one_tensor = len(inspect.signature(module.forward).parameters) == 1
    if "RMSNorm" not in type(module).__name__ or not takes_one_tensor:
        return None
    names = [name for name, _ in module.named_parameters()]
    epsilon = next((getattr(module, name) for name in _EPSILON_NAMES if hasattr(module, name)), None)
    if names != ["weight"] or module.weight.dim() != 1 or not isinstance(epsilon, float):
        return None
    # The hook of accelerate is not copied, as it may hold far more than this module, and the trial does not call it.
    hook = getattr(module, "_hf_hook", None)
    trial: Any = copy.deepcopy(module, {id(hook): hook}).float()
    run = trial.forward if hook is None else trial._old_forward
    generator = torch.Generator(trial.weight.device).manual_seed(0)
    draw = partial(torch.randn, generator=generator, device=trial.weight.device)
    trial.weight.copy_(draw(len(trial.weight)))
    sizes = torch.tensor([epsilon**0.5, 0.1, 1.0, 10.0], device=trial.weight.device)
    probe = sizes[:, None] * draw(len(sizes), len(trial.weight)) ** 3
    expected = run(probe)
    for offset in (0, 1):  # Gemma's norms keep the difference from one
        if torch.allclose(_rms_norm(probe, trial, offset, epsilon), expected, rtol=1e-3, atol=1e-5):
            return partial(_rms_norm, module=module, offset=offset, epsilon=epsilon)
    return None


def _rms_norm(hidden_states: torch.Tensor, module: Any, offset: int, epsilon: float) -> torch.Tensor:
    weight = module.weight + offset if offset else module.weight
    return nn.functional.rms_norm(hidden_states, weight.shape, weight, epsilon)
