# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Launches the kernels in [`~kernels.linear_esap_triton`]."""

from __future__ import annotations

import torch
import triton
from triton.tools.tensor_descriptor import TensorDescriptor

from .esap_triton import IS_INTERPRETED
from .linear_esap_triton import log_sum_exp_kernel, student_kernel, sum_kernel, teacher_kernel


# Four stages of operands and half a tile of logits fill the shared memory of a Hopper multiprocessor.
_ROWS, _COLUMNS, _HIDDEN = 128, 256, 64
_OPTIONS = {"num_warps": 8, "num_stages": 4}
_HOPPER = 9
_PART = _COLUMNS // 2
# Descriptors ask for addresses of whole 16 bytes.
_ALIGNMENT = 16
# The products of Triton's interpreter know no bfloat16.
_DTYPES = (torch.float16,) if IS_INTERPRETED else (torch.float16, torch.bfloat16)


def can_fuse_products(*matrices: torch.Tensor) -> bool:
    """Whether these kernels take hidden states and a weight: in half precision, on Hopper, for which they are made."""
    dtype, device = matrices[0].dtype, matrices[0].device
    is_one_dtype = all(matrix.dtype == dtype for matrix in matrices)
    return is_one_dtype and dtype in _DTYPES and _is_hopper(device) and all(map(_is_aligned, matrices))


class FusedProducts:
    """sum_v min(p_v, q_v) of chunks of positions, made inside the products with the weight of the output layer.

    Args:
        weight: Shape (vocabulary, hidden size).
        bias: Shape (vocabulary,).
        logit_scale: Factor on the logits.
        soft_cap: Logits become `soft_cap * tanh(logits / soft_cap)`.
        chunk_size: Positions of the largest chunk.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        logit_scale: float,
        soft_cap: float | None,
        chunk_size: int,
    ):
        (vocabulary, hidden_size), self._device = weight.shape, weight.device
        self._numbers = (vocabulary, hidden_size, logit_scale, soft_cap or 0.0)
        self._num_parts = triton.cdiv(vocabulary, _PART)
        # A part more than the vocabulary has: the last tile has a right half in any case.
        self._maxima, self._totals = (self._empty((self._num_parts + 1) * chunk_size) for _ in range(2))
        self._log_sum_exp = self._empty(chunk_size)
        self._bias = self._log_sum_exp if bias is None else bias
        logits = weight.new_empty(chunk_size, self._num_parts * _PART)[:, :vocabulary]
        self._weight, self._logits = _descriptor(weight, _COLUMNS, _HIDDEN), _descriptor(logits, _ROWS, _PART)
        self._programs = 1 if IS_INTERPRETED else torch.cuda.get_device_properties(self._device).multi_processor_count
        # Few rows at once: the parts of a row are many.
        self._reduction = {"BLOCK_PARTS": triton.next_power_of_2(self._num_parts), "BLOCK_ROWS": 8}
        self._options = _OPTIONS | {
            "HAS_BIAS": bias is not None,
            "HAS_SCALE": logit_scale != 1.0,
            "HAS_SOFT_CAP": soft_cap is not None,
            "EVEN": vocabulary % _PART == 0,
            "PROGRAMS": self._programs,
            "BLOCK_ROWS": _ROWS,
            "BLOCK_COLUMNS": _COLUMNS,
            "BLOCK_HIDDEN": _HIDDEN,
        }

    def overlap(self, teacher: torch.Tensor, student: torch.Tensor, teacher_log_sum_exp: torch.Tensor) -> torch.Tensor:
        """The overlap at each position of a chunk, shape (positions,), from hidden states (positions, hidden size)."""
        count, rows = teacher.shape[0], self._empty(teacher.shape[0])
        known = teacher_log_sum_exp.float().contiguous()
        grid, reduction_grid = (self._programs,), (triton.cdiv(count, self._reduction["BLOCK_ROWS"]),)
        # What the student's product leaves of its parts is summed up before the teacher's product leaves its own.
        maxima, totals, overlaps = self._maxima, self._totals, self._totals
        with torch.cuda.device_of(teacher):
            student_kernel[grid](
                _descriptor(student, _ROWS, _HIDDEN), self._weight, self._logits, self._bias, maxima, totals,
                count, *self._numbers, **self._options,
            )  # fmt: skip
            log_sum_exp_kernel[reduction_grid](
                maxima, totals, self._log_sum_exp, count, self._num_parts, **self._reduction
            )
            teacher_kernel[grid](
                _descriptor(teacher, _ROWS, _HIDDEN), self._weight, self._logits, self._bias, known, self._log_sum_exp,
                overlaps, count, *self._numbers, **self._options,
            )  # fmt: skip
            sum_kernel[reduction_grid](overlaps, rows, count, self._num_parts, **self._reduction)
        return rows

    def _empty(self, size: int) -> torch.Tensor:
        return torch.empty(size, dtype=torch.float32, device=self._device)


def _descriptor(matrix: torch.Tensor, *block: int) -> TensorDescriptor:
    return TensorDescriptor.from_tensor(matrix, list(block))


def _is_hopper(device: torch.device) -> bool:
    if device.type != "cuda":
        return IS_INTERPRETED
    return torch.version.hip is None and torch.cuda.get_device_capability(device)[0] == _HOPPER


def _is_aligned(matrix: torch.Tensor) -> bool:
    row = matrix.stride(0) * matrix.element_size()
    return matrix.stride(1) == 1 and row % _ALIGNMENT == 0 and matrix.data_ptr() % _ALIGNMENT == 0
