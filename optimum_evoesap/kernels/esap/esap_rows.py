# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""sum_v min(p_v, q_v) of two tensors of logits: the plain torch form, and the call of the Triton kernel."""

from __future__ import annotations

import torch

from ..implementation import Implementation, choose_implementation


def overlap(teacher_log_probabilities: torch.Tensor, student_log_probabilities: torch.Tensor) -> torch.Tensor:
    """sum_v min(p(v), q(v)) from log-probabilities.

    Args:
        teacher_log_probabilities: Shape (..., vocabulary).
        student_log_probabilities: The same shape.

    Returns:
        Shape (...).
    """
    return torch.minimum(teacher_log_probabilities, student_log_probabilities).exp().sum(dim=-1)


def esap_rows(
    teacher_logits: torch.Tensor,
    student_logits: torch.Tensor,
    teacher_log_sum_exp: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    *,
    logit_scale: float = 1.0,
    soft_cap: float | None = None,
    impl: Implementation = "auto",
) -> torch.Tensor:
    """sum_v min(p_v, q_v) at each position, both softmax in float32 whatever the dtype of the logits.

    The Triton form reads both tensors once and makes no other tensor of their size; it has no gradient.

    Args:
        teacher_logits: Shape (..., vocabulary), in any layout.
        student_logits: The same shape, dtype and device.
        teacher_log_sum_exp: The teacher's log-sum-exp, after scale and soft cap, where it is known: shape (...).
        mask: Shape (...), true where a position is scored; the others are not read.
        logit_scale: Factor on the logits.
        soft_cap: Logits become `soft_cap * tanh(logits / soft_cap)`.
        impl: `"torch"`, `"triton"`, or `"auto"`: Triton on CUDA where no gradient is asked for.

    Returns:
        Float32 of shape (...), zero where `mask` is false.

    Raises:
        ValueError: The shapes differ, or `impl` is unknown or cannot do this.
    """
    _check_shapes(teacher_logits, student_logits, teacher_log_sum_exp, mask)
    given = (teacher_logits, student_logits, teacher_log_sum_exp, mask)
    if choose_implementation(impl, *given) == "triton" and teacher_logits.numel() > 0:
        from .overlap_rows import OverlapRows

        rows = OverlapRows(teacher_logits[..., 0].numel(), teacher_logits, teacher_log_sum_exp is not None)
        rows.add(0, teacher_logits, student_logits, teacher_log_sum_exp, mask, logit_scale, soft_cap)
        return rows.result().view(teacher_logits.shape[:-1])
    if mask is None:
        return _torch_rows(teacher_logits, student_logits, teacher_log_sum_exp, logit_scale, soft_cap)
    mask = mask.bool()
    known = None if teacher_log_sum_exp is None else teacher_log_sum_exp[mask]
    scored = _torch_rows(teacher_logits[mask], student_logits[mask], known, logit_scale, soft_cap)
    return scored.new_zeros(mask.shape).masked_scatter(mask, scored)


def _torch_rows(
    teacher_logits: torch.Tensor,
    student_logits: torch.Tensor,
    teacher_log_sum_exp: torch.Tensor | None,
    logit_scale: float,
    soft_cap: float | None,
) -> torch.Tensor:
    teacher, student = (_transform(logits, logit_scale, soft_cap) for logits in (teacher_logits, student_logits))
    known = teacher_log_sum_exp
    teacher = teacher.log_softmax(-1) if known is None else teacher - known[..., None]
    return overlap(teacher, student.log_softmax(-1))


def _transform(logits: torch.Tensor, logit_scale: float, soft_cap: float | None) -> torch.Tensor:
    logits = logits.float()
    if logit_scale != 1.0:
        logits = logits * logit_scale
    return logits if soft_cap is None else soft_cap * torch.tanh(logits / soft_cap)


def _check_shapes(
    teacher_logits: torch.Tensor,
    student_logits: torch.Tensor,
    teacher_log_sum_exp: torch.Tensor | None,
    mask: torch.Tensor | None,
) -> None:
    if teacher_logits.shape != student_logits.shape or teacher_logits.dim() == 0:
        raise ValueError(
            f"teacher_logits {tuple(teacher_logits.shape)} and student_logits {tuple(student_logits.shape)} must have "
            "the same shape (..., vocabulary)."
        )
    rows = teacher_logits.shape[:-1]
    for name, value in (("mask", mask), ("teacher_log_sum_exp", teacher_log_sum_exp)):
        if value is not None and value.shape != rows:
            raise ValueError(f"{name} {tuple(value.shape)} must have the shape {tuple(rows)}.")
