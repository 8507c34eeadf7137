# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""ESAP, expected speculative acceptance: how much of the teacher's next-token distribution a candidate covers."""

from __future__ import annotations

import torch

from ..kernels.esap.esap_rows import esap_rows
from ..kernels.esap.linear_esap import linear_esap_rows
from ..kernels.implementation import Implementation
from .registry import ScoredBlock, ScoredHidden, hidden_form_of, register_fitness


@register_fitness("esap")
def esap_per_position(block: ScoredBlock) -> torch.Tensor:
    """sum_v min(p(v), q(v)) at each position: the chance that speculative decoding accepts the candidate's draw."""
    return esap_rows(block.teacher_logits, block.student_logits, block.teacher_log_sum_exp)


@hidden_form_of(esap_per_position)
def esap_from_hidden(scored: ScoredHidden) -> torch.Tensor:
    """The same, with the logits of a small chunk of positions at a time."""
    head = scored.head
    return linear_esap_rows(
        scored.teacher,
        scored.student,
        head.weight,
        head.bias,
        scored.teacher_log_sum_exp,
        logit_scale=head.logit_scale,
        soft_cap=head.soft_cap,
    )


def esap(
    teacher_logits: torch.Tensor,
    student_logits: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    impl: Implementation = "auto",
) -> torch.Tensor:
    """ESAP = mean over scored positions of sum_v min(p_v, q_v), p the teacher and q the candidate.

    It equals one minus the total variation distance, lies in [0, 1], and is 1 for equal models. Both softmax are taken
    in float32 whatever the dtype of the logits. Source: EvoESAP, arXiv 2603.06003.

    Args:
        teacher_logits: Shape (..., vocabulary).
        student_logits: The same shape.
        mask: Shape (...), true where a position is scored. Position t predicts token t + 1: for a mask over tokens
            pass it shifted left by one. `None` scores every position.
        impl: `"torch"`; `"triton"`, which reads both tensors once and has no gradient; or `"auto"`: Triton on CUDA
            where no gradient is asked for.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: The shapes differ, no position is scored, or `impl` is unknown or cannot do this.
    """
    rows = esap_rows(teacher_logits, student_logits, mask=mask, impl=impl)
    scored = rows.flatten() if mask is None else rows[mask.bool()]
    if scored.numel() == 0:
        raise ValueError("No position is scored: the mask is empty.")
    return scored.mean()


def linear_esap(
    teacher_hidden: torch.Tensor,
    student_hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    logit_scale: float = 1.0,
    soft_cap: float | None = None,
    teacher_log_sum_exp: torch.Tensor | None = None,
    chunk_size: int | None = None,
    impl: Implementation = "auto",
) -> torch.Tensor:
    """ESAP from final hidden states, with never more logits in memory than those of `chunk_size` positions.

    Args:
        teacher_hidden: Hidden states that enter the output layer, shape (positions, hidden size).
        student_hidden: The same of the candidate.
        weight: Weight of the output layer, shape (vocabulary, hidden size).
        bias: Its bias, shape (vocabulary,).
        logit_scale: Factor on the logits.
        soft_cap: Logits become `soft_cap * tanh(logits / soft_cap)`.
        teacher_log_sum_exp: The teacher's log-sum-exp where it is known, shape (positions,), float32.
        chunk_size: Positions at once; `None` takes as many as fit in about 240 MB.
        impl: As in [`esap`].

    Returns:
        A float32 scalar.

    Raises:
        ValueError: The shapes differ, there is no position, or `impl` is unknown or cannot do this.
    """
    rows = linear_esap_rows(
        teacher_hidden,
        student_hidden,
        weight,
        bias,
        teacher_log_sum_exp,
        logit_scale=logit_scale,
        soft_cap=soft_cap,
        chunk_size=chunk_size,
        impl=impl,
    )
    if rows.numel() == 0:
        raise ValueError(
            f"teacher_hidden {tuple(teacher_hidden.shape)} must have the shape (positions, hidden size), with at "
            "least one position."
        )
    return rows.double().mean().float()
