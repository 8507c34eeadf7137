# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""ESAP against its definition in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap import esap, linear_esap
from tests.fitness.helpers import slow_esap


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(2, 300), st.floats(0.01, 30.0), st.integers(0, 10**6))
def test_esap_is_its_definition(positions, vocabulary, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    teacher, student = (torch.randn(positions, vocabulary, generator=generator) * scale for _ in range(2))
    value = esap(teacher, student).item()
    assert value == pytest.approx(slow_esap(teacher, student), abs=2e-6)
    assert 0.0 <= value <= 1.0 + 1e-6
    assert value == pytest.approx(esap(student, teacher).item(), abs=1e-6)
    assert esap(teacher, teacher).item() == pytest.approx(1.0, abs=1e-6)


def test_esap_is_one_minus_total_variation():
    teacher, student = torch.randn(5, 40), torch.randn(5, 40)
    distance = 0.5 * (teacher.softmax(-1) - student.softmax(-1)).abs().sum(-1).mean()
    assert esap(teacher, student).item() == pytest.approx(1 - distance.item(), abs=1e-6)


def test_esap_of_bfloat16_logits_is_computed_in_float32():
    teacher, student = torch.randn(64, 5000).bfloat16(), torch.randn(64, 5000).bfloat16()
    assert esap(teacher, student).dtype == torch.float32
    assert esap(teacher, student).item() == pytest.approx(slow_esap(teacher, student), abs=1e-6)


def test_esap_mask_and_errors():
    teacher, student = torch.randn(2, 3, 7), torch.randn(2, 3, 7)
    mask = torch.tensor([[1, 0, 1], [0, 0, 1]])
    assert esap(teacher, student, mask).item() == pytest.approx(
        slow_esap(teacher[mask.bool()], student[mask.bool()]), abs=1e-6
    )
    with pytest.raises(ValueError, match="same shape"):
        esap(teacher, student[:1])
    with pytest.raises(ValueError, match="must have the shape"):
        esap(teacher, student, mask[:1])
    with pytest.raises(ValueError, match="No position"):
        esap(teacher, student, torch.zeros(2, 3))


@pytest.mark.parametrize("soft_cap,scale", [(None, 1.0), (5.0, 1.0), (None, 0.25)])
def test_linear_esap_is_esap_of_its_logits(soft_cap, scale):
    teacher, student = torch.randn(50, 16), torch.randn(50, 16)
    weight, bias = torch.randn(200, 16), torch.randn(200)

    def logits(hidden):
        raw = (hidden @ weight.T + bias) * scale
        return raw if soft_cap is None else soft_cap * torch.tanh(raw / soft_cap)

    expected = slow_esap(logits(teacher), logits(student))
    options = {"soft_cap": soft_cap, "logit_scale": scale, "chunk_size": 7}
    assert linear_esap(teacher, student, weight, bias, **options).item() == pytest.approx(expected, abs=2e-6)
    known = logits(teacher).logsumexp(-1)
    found = linear_esap(teacher, student, weight, bias, teacher_log_sum_exp=known, **options)
    assert found.item() == pytest.approx(expected, abs=2e-6)
