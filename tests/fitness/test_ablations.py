# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The ablations of ESAP against float64 formulas."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.fitness import FITNESSES, ScoredBlock


def a_block(positions=400, vocabulary=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    teacher, student = (torch.randn(positions, vocabulary, generator=generator) * 2 for _ in range(2))
    targets = torch.randint(0, vocabulary, (positions,), generator=generator)
    return ScoredBlock(teacher, student, targets, torch.rand(positions, generator=generator))


def test_ablations_are_their_definitions():
    block = a_block()
    p, q = block.teacher_logits.double().softmax(-1), block.student_logits.double().softmax(-1)
    expected = {
        "kl": -(p * (p / q).log()).sum(-1),
        "reverse_kl": -(q * (q / p).log()).sum(-1),
        "nll": q[torch.arange(len(q)), block.targets].log(),
        "esap": torch.minimum(p, q).sum(-1),
    }
    for name, values in expected.items():
        torch.testing.assert_close(FITNESSES[name](block).double(), values, rtol=1e-4, atol=1e-5)


def test_sampled_acceptance_estimates_esap():
    blocks = [a_block(4000, seed=seed) for seed in range(5)]
    sampled = torch.cat([FITNESSES["sampled_acceptance"](block) for block in blocks])
    exact = torch.cat([FITNESSES["esap"](block) for block in blocks])
    assert sampled.min() >= 0 and sampled.max() <= 1
    # Standard error of 20000 draws is under 0.003.
    assert sampled.mean().item() == pytest.approx(exact.mean().item(), abs=0.01)
    assert torch.equal(sampled[:4000], FITNESSES["sampled_acceptance"](blocks[0]))
