# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Fitness functions by name, and what they are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from ..models.output_head import OutputHead
from ..registry import FITNESSES, make_register


@dataclass
class ScoredBlock:
    """Some scored positions with the next-token distributions of teacher and candidate.

    Attributes:
        teacher_logits: Shape (positions, vocabulary).
        student_logits: Shape (positions, vocabulary), of the candidate.
        targets: The tokens that really come next, shape (positions,).
        draws: One number in [0, 1) for each position, the same for every candidate, shape (positions,).
        teacher_log_sum_exp: Where it is known already, shape (positions,) in float32.
    """

    teacher_logits: torch.Tensor
    student_logits: torch.Tensor
    targets: torch.Tensor
    draws: torch.Tensor
    teacher_log_sum_exp: torch.Tensor | None = None

    @cached_property
    def teacher_log_probabilities(self) -> torch.Tensor:
        """Log-softmax of the teacher in float32."""
        if self.teacher_log_sum_exp is None:
            return self.teacher_logits.float().log_softmax(dim=-1)
        return self.teacher_logits.float() - self.teacher_log_sum_exp[:, None]

    @cached_property
    def student_log_probabilities(self) -> torch.Tensor:
        """Log-softmax of the candidate in float32."""
        return self.student_logits.float().log_softmax(dim=-1)


@dataclass
class ScoredHidden:
    """Scored positions before the output layer, for a fitness that makes logits in its own way.

    Attributes:
        teacher: What enters the output layer in the teacher, shape (positions, hidden size).
        student: The same in the candidate.
        head: The output layer.
        teacher_log_sum_exp: Of the teacher's logits, shape (positions,) in float32.
    """

    teacher: torch.Tensor
    student: torch.Tensor
    head: OutputHead
    teacher_log_sum_exp: torch.Tensor


Fitness = Callable[[ScoredBlock], torch.Tensor]
HiddenFitness = Callable[[ScoredHidden], torch.Tensor]

register_fitness = make_register(FITNESSES, "fitness")

# Of a function in FITNESSES, a faster form with the same values.
HIDDEN_FORMS: dict[Fitness, HiddenFitness] = {}


def hidden_form_of(fitness: Fitness) -> Callable[[HiddenFitness], HiddenFitness]:
    """A decorator for the form of `fitness` that needs no logits; the scorer takes it where it is there."""

    def add(form: HiddenFitness) -> HiddenFitness:
        HIDDEN_FORMS[fitness] = form
        return form

    return add
