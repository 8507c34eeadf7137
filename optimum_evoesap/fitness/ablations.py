# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The paper's other fitness functions, for comparison; each gives one value a position, higher is better."""

from __future__ import annotations

import torch

from .registry import ScoredBlock, register_fitness


@register_fitness("kl")
def negative_kl(block: ScoredBlock) -> torch.Tensor:
    """-KL(p || q), teacher p and candidate q, in nats; 0 for the unpruned model."""
    teacher = block.teacher_log_probabilities
    return -(teacher.exp() * (teacher - block.student_log_probabilities)).sum(dim=-1)


@register_fitness("reverse_kl")
def negative_reverse_kl(block: ScoredBlock) -> torch.Tensor:
    """-KL(q || p), in nats; 0 for the unpruned model."""
    student = block.student_log_probabilities
    return -(student.exp() * (student - block.teacher_log_probabilities)).sum(dim=-1)


@register_fitness("nll")
def log_likelihood(block: ScoredBlock) -> torch.Tensor:
    """Log-likelihood of the data's own next token under the candidate, in nats."""
    return block.student_log_probabilities.gather(-1, block.targets[:, None])[:, 0]


@register_fitness("sampled_acceptance")
def sampled_acceptance(block: ScoredBlock) -> torch.Tensor:
    """min(1, p(x) / q(x)) for one token x drawn from the candidate: a noisy estimate of ESAP.

    The draws are the same for every candidate, so that candidates differ by what they predict and not by luck.
    """
    student = block.student_log_probabilities
    cumulative = student.exp().cumsum(dim=-1)
    # Rounding can leave the last sum a little under one; scaled by it, a draw always finds a token.
    sought = block.draws[:, None].float() * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, sought, right=True).clamp(max=student.shape[-1] - 1)
    ratio = block.teacher_log_probabilities.gather(-1, token) - student.gather(-1, token)
    return ratio[:, 0].clamp(max=0).exp()
