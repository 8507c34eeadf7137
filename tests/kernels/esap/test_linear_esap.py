# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""ESAP from hidden states, in chunks of logits, against float64."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.fitness.esap import linear_esap
from optimum_evoesap.kernels.esap.linear_esap import default_chunk_size, linear_esap_rows
from optimum_evoesap.kernels.implementation import runs_products
from tests.kernels.esap.helpers import assert_about, assert_rows, exact, make_hidden
from tests.kernels.machine import DEVICE


pytest.importorskip("triton")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("chunk_size", [None, 1, 7, 64])
@pytest.mark.parametrize("with_bias", [True, False])
def test_linear_rows_are_rows_of_the_logits(dtype, chunk_size, with_bias):
    generator = torch.Generator(DEVICE).manual_seed(1)
    make = lambda *shape: torch.randn(*shape, generator=generator, device=DEVICE)  # noqa: E731
    teacher, weight, bias = make(20, 16), make(333, 16).to(dtype), make(333).to(dtype) if with_bias else None
    student = (teacher + 0.3 * make(20, 16)).to(dtype)
    teacher = teacher.to(dtype)
    logits = [torch.nn.functional.linear(hidden, weight, bias) for hidden in (teacher, student)]
    # A product of another shape may round to another bfloat16.
    tolerance = 2e-6 if dtype == torch.float32 else 2e-3
    expected, known = exact(*logits), logits[0].float().logsumexp(-1)
    for impl in ("triton", "torch"):
        options = {"chunk_size": chunk_size, "impl": impl}
        assert_rows(linear_esap_rows(teacher, student, weight, bias, **options), expected, tolerance)
        assert_rows(linear_esap_rows(teacher, student, weight, bias, known, **options), expected, tolerance)
        mean = linear_esap(teacher, student, weight, bias, **options)
        assert mean.item() == pytest.approx(expected.mean().item(), abs=tolerance)


def test_the_longest_chunks():
    assert default_chunk_size(50304, torch.bfloat16, "fused") == 2304
    assert default_chunk_size(151936, torch.bfloat16, "fused") == 768
    assert default_chunk_size(1000, torch.bfloat16, "fused") == 4096
    assert default_chunk_size(1000, torch.bfloat16, "triton") == 58880
    assert default_chunk_size(10**9, torch.float32, "torch") == 1


@pytest.mark.parametrize("impl", ["triton", "torch"])
def test_linear_refuses_other_shapes(impl):
    teacher, student, weight = make_hidden(20, 30, 16, torch.float16)
    known, bias = torch.zeros(20, device=DEVICE), torch.zeros(30, dtype=torch.float16, device=DEVICE)
    with pytest.raises(ValueError, match=r"weight \(30, 8\) must have the shape .*\(30, 16\)"):
        linear_esap_rows(teacher, student, weight[:, :8], impl=impl)
    with pytest.raises(ValueError, match=r"bias \(1,\) must have the shape \(vocabulary,\), here \(30,\)"):
        linear_esap_rows(teacher, student, weight, bias[:1], known, impl=impl)
    with pytest.raises(ValueError, match=r"one dtype; they have .*torch.float16.*torch.float32"):
        linear_esap_rows(teacher, student, weight, bias.float(), known, impl=impl)
    with pytest.raises(ValueError, match=r"teacher_log_sum_exp \(10,\) must have the shape \(positions,\)"):
        linear_esap_rows(teacher, student, weight, bias, known[:10], impl=impl)


def test_a_subclass_goes_to_torch():
    """Quantized weights are no memory that a kernel could read; torch knows what to do with them."""

    class Wrapped(torch.Tensor):
        pass

    teacher, student, weight = make_hidden(5, 30, 16, torch.float16)
    wrapped = weight.as_subclass(Wrapped)
    with pytest.raises(ValueError, match="cannot read a Wrapped"):
        linear_esap_rows(teacher, student, wrapped, impl="triton")
    assert not runs_products(teacher, wrapped)
    found = linear_esap_rows(teacher, student, wrapped)
    assert_about(found.as_subclass(torch.Tensor), exact(teacher @ weight.T, student @ weight.T), torch.float16)


def test_linear_refuses_what_it_cannot_do():
    hidden, weight = torch.randn(4, 8, device=DEVICE), torch.randn(10, 8, device=DEVICE)
    with pytest.raises(ValueError, match="same shape"):
        linear_esap(hidden, hidden[:2], weight, impl="triton")
    for impl in ("triton", "torch"):
        with pytest.raises(ValueError, match="at least one position"):
            linear_esap(hidden[:0], hidden[:0], weight, impl=impl)
