# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""ESAP, expected speculative acceptance: how much of the teacher's next-token distribution a candidate covers."""

from __future__ import annotations

import torch

from .registry import ScoredBlock, register_fitness


@register_fitness("esap")
def esap_per_position(block: ScoredBlock) -> torch.Tensor:
    """sum_v min(p(v), q(v)) at each position: the chance that speculative decoding accepts the candidate's draw."""
    return overlap(block.teacher_log_probabilities, block.student_log_probabilities)


def overlap(teacher_log_probabilities: torch.Tensor, student_log_probabilities: torch.Tensor) -> torch.Tensor:
    """sum_v min(p(v), q(v)) from log-probabilities; the last axis is the vocabulary."""
    return torch.minimum(teacher_log_probabilities, student_log_probabilities).exp().sum(dim=-1)


def esap(teacher_logits: torch.Tensor, student_logits: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """ESAP = mean over scored positions of sum_v min(p_v, q_v), p the teacher and q the candidate.

    It equals one minus the total variation distance, lies in [0, 1], and is 1 for equal models. Both softmax are taken
    in float32 whatever the dtype of the logits. Source: EvoESAP, arXiv 2603.06003.

    Args:
        teacher_logits: Shape (..., vocabulary).
        student_logits: The same shape.
        mask: Shape (...), true where a position is scored. Position t predicts token t + 1: for a mask over tokens
            pass it shifted left by one. `None` scores every position.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: The shapes differ, or no position is scored.
    """
    if teacher_logits.shape != student_logits.shape:
        raise ValueError(
            f"teacher_logits {tuple(teacher_logits.shape)} and student_logits {tuple(student_logits.shape)} must have "
            "the same shape (..., vocabulary)."
        )
    if mask is not None:
        if mask.shape != teacher_logits.shape[:-1]:
            raise ValueError(f"mask {tuple(mask.shape)} must have the shape {tuple(teacher_logits.shape[:-1])}.")
        teacher_logits, student_logits = teacher_logits[mask.bool()], student_logits[mask.bool()]
    if teacher_logits.numel() == 0:
        raise ValueError("No position is scored: the mask is empty.")
    return overlap(teacher_logits.float().log_softmax(-1), student_logits.float().log_softmax(-1)).mean()


def linear_esap(
    teacher_hidden: torch.Tensor,
    student_hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    logit_scale: float = 1.0,
    soft_cap: float | None = None,
    teacher_log_sum_exp: torch.Tensor | None = None,
    chunk_size: int = 1024,
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
        chunk_size: Positions at once.

    Returns:
        A float32 scalar.
    """
    if teacher_hidden.shape != student_hidden.shape or teacher_hidden.shape[0] == 0:
        raise ValueError(
            f"teacher_hidden {tuple(teacher_hidden.shape)} and student_hidden {tuple(student_hidden.shape)} must have "
            "the same shape (positions, hidden size), with at least one position."
        )

    def log_probabilities(hidden: torch.Tensor, log_sum_exp: torch.Tensor | None) -> torch.Tensor:
        logits = torch.nn.functional.linear(hidden, weight, bias).float() * logit_scale
        if soft_cap is not None:
            logits = soft_cap * torch.tanh(logits / soft_cap)
        return logits.log_softmax(-1) if log_sum_exp is None else logits - log_sum_exp[:, None]

    total = torch.zeros((), dtype=torch.float64, device=teacher_hidden.device)
    for start in range(0, teacher_hidden.shape[0], chunk_size):
        part = slice(start, start + chunk_size)
        known = None if teacher_log_sum_exp is None else teacher_log_sum_exp[part]
        teacher = log_probabilities(teacher_hidden[part], known)
        total += overlap(teacher, log_probabilities(student_hidden[part], None)).double().sum()
    return (total / teacher_hidden.shape[0]).float()
