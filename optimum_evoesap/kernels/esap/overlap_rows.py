# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Launches the kernel in [`~kernels.esap.esap_triton`]: how rows are cut into slices."""

from __future__ import annotations

import torch
import triton

from ..triton_common import IS_INTERPRETED
from .esap_triton import overlap_kernel


class OverlapRows:
    """sum_v min(p_v, q_v) of many rows, given a chunk at a time; nothing but the kernel is launched in between.

    Args:
        num_rows: Rows of all chunks together.
        like: Logits of the dtype, vocabulary and device of those to come.
        knows_teacher: Whether the teacher's log-sum-exp comes with each chunk.
        num_chunks: How many chunks will come.
    """

    def __init__(self, num_rows: int, like: torch.Tensor, knows_teacher: bool, num_chunks: int = 1):
        self._granule = 16 // like.element_size()
        self._block_size, self._options = tile_options(like, knows_teacher)
        # The last granule of a row that starts inside a granule lies past the vocabulary.
        columns = like.shape[-1] + self._granule - 1
        self._slice_size = triton.cdiv(triton.cdiv(columns, triton.cdiv(columns, self._block_size)), 16) * 16
        self._num_slices = triton.cdiv(columns, self._slice_size)
        # One tensor of zeros for all: the words, and a counter for each of up to two launches a chunk, 16 bytes apart.
        width = (1 if knows_teacher else 2) * self._num_slices
        zeros = torch.zeros(4 * num_chunks + num_rows * width, dtype=torch.int64, device=like.device)
        self._counters, self._words = zeros[: 4 * num_chunks : 2], zeros[4 * num_chunks :].view(num_rows, width)
        self._overlaps = torch.empty(num_rows, self._num_slices, dtype=torch.float32, device=like.device)
        self._num_launches = 0

    def add(
        self,
        start: int,
        teacher: torch.Tensor,
        student: torch.Tensor,
        teacher_log_sum_exp: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        logit_scale: float = 1.0,
        soft_cap: float | None = None,
    ) -> None:
        """Compute the rows of one chunk.

        Args:
            start: Place of its first row among all.
            teacher: Logits, shape (..., vocabulary).
            student: The same shape.
            teacher_log_sum_exp: Shape (...); needed in each chunk if the teacher is known, otherwise left out.
            mask: Shape (...), true where a position is scored.
            logit_scale: Factor on the logits.
            soft_cap: Logits become `soft_cap * tanh(logits / soft_cap)`.
        """
        teacher, student = _as_blocks(teacher), _as_blocks(student)
        num_rows, known = teacher.shape[0] * teacher.shape[1], teacher_log_sum_exp
        words, overlaps = self._words[start:], self._overlaps[start:]
        # One launch where all slices of a row fit on the device at once, else one to publish and one to finish.
        for publish, finish in self._phases(teacher.device):
            counter = self._counters[self._num_launches :]
            self._num_launches += 1
            with torch.cuda.device_of(teacher):
                overlap_kernel[(num_rows * self._num_slices,)](
                    teacher, student,
                    overlaps if known is None else known.float().contiguous(),
                    overlaps if mask is None else mask.bool().contiguous(),
                    words, overlaps, counter, teacher.shape[2], self._num_slices, self._slice_size,
                    teacher.shape[1], *teacher.stride()[:2], *student.stride()[:2], logit_scale, soft_cap or 0.0,
                    KNOWN=known is not None, HAS_MASK=mask is not None,
                    HAS_SCALE=logit_scale != 1.0, HAS_SOFT_CAP=soft_cap is not None,
                    PUBLISH=publish, FINISH=finish, GRANULE=self._granule_of(teacher, student),
                    BLOCK_SIZE=self._block_size, SLICES_BLOCK=triton.next_power_of_2(self._num_slices),
                    **self._options,
                )  # fmt: skip

    def result(self) -> torch.Tensor:
        """One float32 value a row, zero where the mask was false."""
        return self._overlaps.sum(dim=1)

    def _phases(self, device: torch.device) -> list[tuple[bool, bool]]:
        if not IS_INTERPRETED:
            processors = torch.cuda.get_device_properties(device).multi_processor_count
            if self._num_slices <= processors:
                return [(True, True)]
        return [(True, False), (False, True)]

    def _granule_of(self, teacher: torch.Tensor, student: torch.Tensor) -> int:
        """Elements to load together beyond what the compiler sees by itself, or one."""
        strides = list(zip(teacher.stride()[:2], student.stride()[:2]))
        if teacher.shape[2] % 16 == 0 and all(left % 16 == right % 16 == 0 for left, right in strides):
            return 1
        begins_alike = all(left % self._granule == right % self._granule for left, right in strides)
        starts_whole = teacher.data_ptr() % 16 == student.data_ptr() % 16 == 0
        return self._granule if begins_alike and starts_whole else 1


def tile_options(like: torch.Tensor, knows_teacher: bool) -> tuple[int, dict[str, int]]:
    """Columns of a slice, and compiler options; the fastest of those measured, see benchmarks/NOTES.md.

    Args:
        like: Logits of the dtype and vocabulary.
        knows_teacher: Whether the teacher's log-sum-exp is given.
    """
    if knows_teacher:
        return (8192 if like.shape[-1] > 65536 else 4096), {"num_warps": 4}
    if like.element_size() == 4:
        return 2048, {"num_warps": 2}
    num_warps, registers = (1, 128) if like.shape[-1] % 16 == 0 else (2, 96)
    # A limit that only NVIDIA's compiler knows: more programs at once for a few spilled registers.
    return 2048, {"num_warps": num_warps} | ({} if torch.version.hip else {"maxnreg": registers})


def _as_blocks(logits: torch.Tensor) -> torch.Tensor:
    """Shape (blocks, rows, vocabulary) without a copy where the vocabulary is contiguous."""
    if logits.stride(-1) != 1:
        logits = logits.contiguous()
    return logits[None, None] if logits.dim() == 1 else logits.reshape(-1, *logits.shape[-2:])
