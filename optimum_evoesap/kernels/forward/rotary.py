# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The rotary position embedding in one pass over memory, where a model's own function has the common form."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from transformers import PreTrainedModel

from ..implementation import is_triton_available


_NAME = "apply_rotary_pos_emb"
_PROBE_HEAD_SIZE = 8


@contextmanager
def fused_rotary(model: PreTrainedModel) -> Iterator[None]:
    """A context in which the modeling files of a model rotate queries and keys on a GPU by the kernel.

    Functions of another form stay as they are, and so do calls with other arguments or on other devices.
    """
    on_gpu = any(parameter.is_cuda for parameter in model.parameters()) and is_triton_available()
    with ExitStack() as undo:
        for name in sorted({type(part).__module__ for part in model.modules()}) if on_gpu else ():
            apply = getattr(sys.modules.get(name), _NAME, None)
            if apply is not None and is_common_form(apply):
                undo.callback(setattr, sys.modules[name], _NAME, apply)
                setattr(sys.modules[name], _NAME, _with_kernel(apply))
        yield


def is_common_form(apply: Callable[..., Any]) -> bool:
    """Whether a function rotates the halves of whole heads of (batch, heads, tokens, head size), tried on the CPU."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 3, 5), (2, 1, 5), (2, 5), (2, 5))
    states = [torch.randn(*shape, _PROBE_HEAD_SIZE, generator=generator) for shape in shapes]
    try:
        found = apply(*states)
    except (RuntimeError, TypeError, ValueError):
        return False  # it takes other arguments
    queries, keys, cos, sin = states
    expected = [_rotated(each, cos[:, None], sin[:, None]) for each in (queries, keys)]
    return (
        isinstance(found, tuple)
        and len(found) == 2
        and all(a.shape == b.shape and torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected))
    )


def _rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat((-second, first), dim=-1) * sin


def _with_kernel(apply: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(apply)
    def apply_rotary_pos_emb(*args, **kwargs):
        if kwargs or len(args) != 4 or not all(_fits(states, *args[2:]) for states in args[:2]):
            return apply(*args, **kwargs)
        queries, keys, cos, sin = args
        return rotate(queries, cos, sin), rotate(keys, cos, sin)

    return apply_rotary_pos_emb


def _fits(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> bool:
    if states.dim() != 4:
        return False
    batch, _, tokens, head_size = states.shape
    return (
        states.is_cuda
        and not (torch.is_grad_enabled() and states.requires_grad)
        and states.dtype in (torch.bfloat16, torch.float16)
        and states.stride(-1) == 1
        and states.dtype == cos.dtype == sin.dtype
        and cos.shape == sin.shape
        and cos.dim() == 3
        and cos.shape[0] in (1, batch)
        and cos.shape[1:] == (tokens, head_size)
    )


def rotate(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate queries or keys.

    Args:
        states: Shape (batch, heads, tokens, head size), the last axis contiguous.
        cos: Shape (batch or 1, tokens, head size).
        sin: The same.
    """
    import triton

    from .rotary_triton import rotary_kernel

    batch, heads, tokens, head_size = states.shape
    cos, sin = cos.contiguous(), sin.contiguous()
    # Laid out as the states are: the kernel takes one set of strides for both.
    rotated = torch.empty_strided(states.shape, states.stride(), dtype=states.dtype, device=states.device)
    with torch.cuda.device_of(states):
        rotary_kernel[(batch * tokens,)](
            states, rotated, cos, sin, states.stride(0), states.stride(1), states.stride(2),
            cos.stride(0) if cos.shape[0] > 1 else 0, cos.stride(1), tokens, heads, head_size // 2,
            HEADS=triton.next_power_of_2(heads), HALF=triton.next_power_of_2(head_size // 2), num_warps=4,
        )  # fmt: skip
    return rotated
