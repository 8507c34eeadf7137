# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Launches the kernels in [`~kernels.esap.linear_esap_triton`]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton

from .. import hopper
from .linear_esap_triton import log_sum_exp_kernel, student_kernel, sum_kernel, teacher_kernel


if TYPE_CHECKING:
    from .output_weights import OutputWeights


class FusedProducts:
    """sum_v min(p_v, q_v) of chunks of positions, computed inside the products with the weight of the output layer.

    Args:
        output: The output layer; `hopper.runs_products` must take its weight.
        chunk_size: Positions of the largest chunk.
    """

    def __init__(self, output: OutputWeights, chunk_size: int):
        weight, has_bias, has_soft_cap = output.weight, output.bias is not None, output.soft_cap is not None
        (vocabulary, hidden_size), self._device = weight.shape, weight.device
        self._numbers = (vocabulary, hidden_size, output.logit_scale, output.soft_cap if has_soft_cap else 0.0)
        self._num_parts = triton.cdiv(vocabulary, hopper.COLUMNS)
        self._maxima, self._totals = (self._empty(self._num_parts * chunk_size) for _ in range(2))
        self._log_sum_exp = self._empty(chunk_size)
        self._bias = output.bias.contiguous() if output.bias is not None else self._log_sum_exp
        num_words = triton.cdiv(chunk_size, hopper.ROWS) * self._num_parts * hopper.ROWS * hopper.COLUMNS // 2
        self._words = torch.empty(num_words, dtype=torch.int32, device=self._device)
        self._weight = hopper.descriptor(weight, hopper.COLUMNS, hopper.INNER)
        self._programs = hopper.num_programs(self._device)
        # Few rows at once, since each has many parts.
        self._reduction = {"BLOCK_PARTS": triton.next_power_of_2(self._num_parts), "BLOCK_ROWS": 8}
        self._options = hopper.OPTIONS | {
            "HAS_BIAS": has_bias,
            "HAS_SCALE": output.logit_scale != 1.0,
            "HAS_SOFT_CAP": has_soft_cap,
            "EVEN": vocabulary % hopper.COLUMNS == 0,
            "PROGRAMS": self._programs,
            "BLOCK_ROWS": hopper.ROWS,
            "BLOCK_COLUMNS": hopper.COLUMNS,
            "BLOCK_HIDDEN": hopper.INNER,
        }

    def overlap(self, teacher: torch.Tensor, student: torch.Tensor, teacher_log_sum_exp: torch.Tensor) -> torch.Tensor:
        """The overlap at each position of a chunk.

        Args:
            teacher: Hidden states, shape (positions, hidden size).
            student: The same of the candidate.
            teacher_log_sum_exp: Shape (positions,).

        Returns:
            Float32 of shape (positions,).
        """
        count, rows = teacher.shape[0], self._empty(teacher.shape[0])
        known = teacher_log_sum_exp.float().contiguous()
        grid, reduction_grid = (self._programs,), (triton.cdiv(count, self._reduction["BLOCK_ROWS"]),)
        # The student's sums are used up before the teacher's product writes to the same memory.
        maxima, totals, overlaps = self._maxima, self._totals, self._totals
        of_teacher, of_student = (
            hopper.descriptor(hidden, hopper.ROWS, hopper.INNER) for hidden in (teacher, student)
        )
        with torch.cuda.device_of(teacher):
            student_kernel[grid](
                of_student, self._weight, self._words, self._bias, maxima, totals,
                count, *self._numbers, **self._options,
            )  # fmt: skip
            log_sum_exp_kernel[reduction_grid](
                maxima, totals, self._log_sum_exp, count, self._num_parts, **self._reduction
            )
            teacher_kernel[grid](
                of_teacher, self._weight, self._words, self._bias, known, self._log_sum_exp, overlaps,
                count, *self._numbers, **self._options,
            )  # fmt: skip
            sum_kernel[reduction_grid](overlaps, rows, count, self._num_parts, **self._reduction)
        return rows

    def _empty(self, size: int) -> torch.Tensor:
        return torch.empty(size, dtype=torch.float32, device=self._device)
