# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which implementation of a kernel runs: the plain torch form or Triton."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import Literal

import torch


Implementation = Literal["auto", "torch", "triton"]

_DTYPES = (torch.bfloat16, torch.float16, torch.float32)


@lru_cache
def is_triton_available() -> bool:
    """Whether Triton can be imported; it comes with torch for CUDA."""
    return importlib.util.find_spec("triton") is not None


@lru_cache
def _has_descriptors() -> bool:
    """Whether Triton has tensor descriptors, through which the products read: from 3.4 on."""
    return is_triton_available() and importlib.util.find_spec("triton.tools.tensor_descriptor") is not None


def runs_products(*operands: torch.Tensor) -> bool:
    """Whether the matrix products in Triton take these operands: on Hopper, in half precision."""
    if not _has_descriptors():
        return False
    from . import hopper

    return hopper.runs_products(*operands)


def choose_implementation(impl: str, *tensors: torch.Tensor | None) -> str:
    """`"torch"` or `"triton"` for `impl` and the given tensors.

    `"auto"` takes Triton for bfloat16, float16 and float32 on CUDA where no gradient is asked for.

    Args:
        impl: `"auto"`, `"torch"` or `"triton"`.
        *tensors: What the kernel would read; `None` is left out.

    Raises:
        ValueError: `impl` is unknown, or it is `"triton"` and Triton cannot do this.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    if impl == "torch":
        return impl
    if impl not in ("auto", "triton"):
        raise ValueError(f"impl={impl!r} is unknown: use 'auto', 'torch' or 'triton'.")
    # On the CPU Triton only runs in its interpreter, which is for tests and never chosen here.
    if impl == "auto" and not all(tensor.is_cuda for tensor in given):
        return "torch"
    obstacle = _obstacle(given)
    if impl == "auto":
        return "triton" if obstacle is None else "torch"
    if obstacle is not None:
        raise ValueError(f"impl='triton' is not possible: {obstacle}. Use impl='auto' or 'torch'.")
    return impl


def _obstacle(tensors: list[torch.Tensor]) -> str | None:
    if not is_triton_available():
        return "Triton is not installed"
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return "the kernels compute no gradients; call them under torch.no_grad()"
    for tensor in tensors:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            return f"a kernel cannot read a {type(tensor).__name__}"
        if tensor.is_floating_point() and tensor.dtype not in _DTYPES:
            return f"there is no kernel for {tensor.dtype}"
        if tensor.device != tensors[0].device:
            return f"the tensors are on {tensors[0].device} and {tensor.device}"
    if not all(tensor.is_cuda for tensor in tensors) and not _is_interpreted():
        return "the tensors are not on CUDA"
    return None


def _is_interpreted() -> bool:
    from .triton_common import IS_INTERPRETED

    return IS_INTERPRETED
