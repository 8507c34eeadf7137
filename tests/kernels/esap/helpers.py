# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Logits and hidden states of a teacher and a student near it, and their overlap in float64."""

from __future__ import annotations

import torch

from tests.kernels.machine import DEVICE


DTYPES = [torch.bfloat16, torch.float16, torch.float32]


def make_logits(*shape: int, dtype: torch.dtype = torch.float32, scale: float = 3.0, seed: int = 0):
    """A teacher and a student near it, each of `shape`."""
    generator = torch.Generator(DEVICE).manual_seed(seed)
    teacher = scale * torch.randn(*shape, generator=generator, device=DEVICE)
    student = teacher + torch.randn(*shape, generator=generator, device=DEVICE)
    return teacher.to(dtype), student.to(dtype)


def exact(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """The definition in float64."""
    return torch.minimum(teacher.double().softmax(-1), student.double().softmax(-1)).sum(-1)


def assert_rows(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 2e-6) -> None:
    assert found.dtype == torch.float32 and found.shape == expected.shape
    assert (found - expected).abs().max().item() < tolerance


def make_hidden(rows, vocabulary, hidden_size, dtype, seed=2):
    """Hidden states of a teacher and a student near it, and a weight that makes logits of some size."""
    generator = torch.Generator(DEVICE).manual_seed(seed)
    make = lambda *shape: torch.randn(*shape, generator=generator, device=DEVICE)  # noqa: E731
    teacher, weight = make(rows, hidden_size), 3 * make(vocabulary, hidden_size) / hidden_size**0.5
    return teacher.to(dtype), (teacher + 0.3 * make(rows, hidden_size)).to(dtype), weight.to(dtype)


def assert_about(found, expected, dtype):
    """A product in another order rounds a few logits to another number, now and then that of a likely token."""
    assert found.dtype == torch.float32 and found.shape == expected.shape
    error, rounding = found - expected, torch.finfo(dtype).eps
    assert error.abs().max().item() < 5 * rounding and error.abs().mean().item() < 0.05 * rounding
    assert error.mean().abs().item() < 2e-4
