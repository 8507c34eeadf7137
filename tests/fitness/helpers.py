# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""ESAP by its definition, and batches to score."""

from __future__ import annotations

import torch


def slow_esap(teacher: torch.Tensor, student: torch.Tensor) -> float:
    """The definition, in float64, a position at a time."""
    total = 0.0
    for p, q in zip(teacher.double(), student.double()):
        total += torch.minimum(p.softmax(0), q.softmax(0)).sum().item()
    return total / len(teacher)


def batches_of(tokens, labels=None, **more):
    return [{"input_ids": tokens, "labels": tokens.clone() if labels is None else labels, **more}]
