# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What the products in Triton share. They are made for Hopper: persistent programs that read through descriptors."""

from __future__ import annotations

import torch
from triton.tools.tensor_descriptor import TensorDescriptor

from .triton_common import IS_INTERPRETED


# Block sizes of a product. Four stages of operands, and half a tile of results where a kernel stores whole rows, fill
# the shared memory of a multiprocessor.
ROWS, COLUMNS, INNER = 128, 256, 64
OPTIONS = {"num_warps": 8, "num_stages": 4}
HALF = COLUMNS // 2

_MAJOR = 9
# Descriptors need addresses that are multiples of 16 bytes.
_ALIGNMENT = 16
# Triton's interpreter has no products in bfloat16.
_DTYPES = (torch.float16,) if IS_INTERPRETED else (torch.float16, torch.bfloat16)


def runs_products(*tensors: torch.Tensor) -> bool:
    """Whether the products take these operands: one dtype of half precision, on Hopper, aligned in memory."""
    dtype, device = tensors[0].dtype, tensors[0].device
    # Subclasses, such as quantized weights, keep their values elsewhere.
    if any(type(tensor) not in (torch.Tensor, torch.nn.Parameter) for tensor in tensors):
        return False
    is_one_dtype = dtype in _DTYPES and all(tensor.dtype == dtype for tensor in tensors)
    return is_one_dtype and _is_hopper(device) and all(map(_is_aligned, tensors))


def descriptor(tensor: torch.Tensor, *block: int) -> TensorDescriptor:
    """The descriptor through which a kernel reads or writes blocks of a tensor.

    Args:
        tensor: Contiguous along its last axis.
        *block: Size of a block along each axis.
    """
    return TensorDescriptor.from_tensor(tensor, list(block))


def num_programs(device: torch.device) -> int:
    """Number of persistent programs, which run until all tiles are done: one on each multiprocessor."""
    return 1 if IS_INTERPRETED else torch.cuda.get_device_properties(device).multi_processor_count


def _is_hopper(device: torch.device) -> bool:
    if device.type != "cuda":
        return IS_INTERPRETED
    return torch.version.hip is None and torch.cuda.get_device_capability(device)[0] == _MAJOR


def _is_aligned(tensor: torch.Tensor) -> bool:
    steps = [stride * tensor.element_size() for stride in tensor.stride()[:-1]]
    is_whole = all(step > 0 and step % _ALIGNMENT == 0 for step in steps)
    return tensor.stride(-1) == 1 and is_whole and tensor.data_ptr() % _ALIGNMENT == 0
