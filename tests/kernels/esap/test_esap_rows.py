# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The kernel for rows of logits against float64, on the GPU or in Triton's interpreter."""

from __future__ import annotations

import math

import pytest
import torch

from optimum_evoesap.fitness.esap import esap, linear_esap
from optimum_evoesap.kernels.esap.esap_rows import esap_rows
from tests.kernels.esap.helpers import DTYPES, assert_rows, exact, make_logits
from tests.kernels.machine import DEVICE, ON_GPU


pytest.importorskip("triton")

from optimum_evoesap.kernels.esap import overlap_rows  # noqa: E402


# The interpreter is slow: there the largest vocabularies in one dtype only.
SMALL, LARGE = [1, 7, 1000, 2048, 5003], [50257, 151936]
SIZES = [(dtype, vocabulary) for dtype in DTYPES for vocabulary in SMALL]
SIZES += [(dtype, vocabulary) for dtype in (DTYPES if DEVICE == "cuda" else DTYPES[:1]) for vocabulary in LARGE]


@pytest.mark.parametrize("dtype,vocabulary", SIZES)
def test_rows_of_any_dtype_and_vocabulary(dtype, vocabulary):
    teacher, student = make_logits(3, vocabulary, dtype=dtype)
    expected = exact(teacher, student)
    assert_rows(esap_rows(teacher, student, impl="triton"), expected)
    known = teacher.float().logsumexp(-1)
    assert_rows(esap_rows(teacher, student, known, impl="triton"), expected)
    assert_rows(esap_rows(teacher, student, known, impl="torch"), expected, tolerance=1e-5)


def test_teacher_log_sum_exp_is_used_where_given():
    teacher, student = make_logits(2, 300)
    lower = teacher.logsumexp(-1) + math.log(4.0)
    quarter = torch.minimum(teacher.double().softmax(-1) / 4, student.double().softmax(-1)).sum(-1)
    assert_rows(esap_rows(teacher, student, lower, impl="triton"), quarter)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("vocabulary", [48, 2101, 2112])
def test_rows_of_any_layout(vocabulary, dtype):
    teacher, student = make_logits(2, 3, vocabulary, dtype=dtype)
    expected = exact(teacher, student)
    wide = torch.full((2, 3, vocabulary + 9), torch.nan, dtype=dtype, device=DEVICE)
    layouts = [
        lambda logits: logits,
        lambda logits: wide.clone()[..., :vocabulary].copy_(logits),
        lambda logits: wide.clone()[..., 5 : 5 + vocabulary].copy_(logits),
        lambda logits: logits.transpose(0, 1).contiguous().transpose(0, 1),
        lambda logits: logits.transpose(1, 2).contiguous().transpose(1, 2),
        lambda logits: logits.repeat_interleave(2, 1)[:, ::2],
    ]
    for of_teacher in layouts:
        for of_student in layouts[:1] if of_teacher is not layouts[0] else layouts:
            assert_rows(esap_rows(of_teacher(teacher), of_student(student), impl="triton"), expected)
    for layout in layouts[1:3]:
        assert_rows(esap_rows(layout(teacher), layout(student), impl="triton"), expected)
    assert_rows(esap_rows(teacher[:, :-1], student[:, :-1], impl="triton"), expected[:, :-1])
    assert_rows(esap_rows(teacher[0, 0], student[0, 0], impl="triton"), expected[0, 0])
    assert_rows(esap_rows(teacher[None], student[None], impl="triton"), expected[None])


@pytest.mark.parametrize("scored", [[0], [0, 1, 2, 3, 4, 5], [1, 4], [0, 1, 2, 3, 4]])
def test_mask_leaves_rows_out_unread(scored, monkeypatch):
    monkeypatch.setattr(torch, "empty", lambda *shape, **options: torch.full(shape, torch.nan, **options))
    teacher, student = make_logits(2, 3, 2300)
    mask = torch.zeros(6, dtype=torch.bool, device=DEVICE)
    mask[scored] = True
    mask = mask.view(2, 3)
    expected = exact(teacher, student) * mask
    # What is not scored may hold anything.
    teacher[~mask], student[~mask] = torch.nan, torch.nan
    for impl in ("triton", "torch"):
        assert_rows(esap_rows(teacher, student, mask=mask, impl=impl), expected)
        assert_rows(esap_rows(teacher, student, mask=mask.long(), impl=impl), expected)
        assert esap(teacher, student, mask, impl=impl).item() == pytest.approx(expected[mask].mean().item(), abs=1e-6)


def test_what_cannot_be_scored_is_refused():
    teacher, student = make_logits(2, 3, 7)
    for impl in ("triton", "torch"):
        with pytest.raises(ValueError, match="No position"):
            esap(teacher, student, torch.zeros(2, 3, device=DEVICE), impl=impl)
        with pytest.raises(ValueError, match="No position"):
            esap(teacher[:0], student[:0], impl=impl)
        with pytest.raises(ValueError, match="same shape"):
            esap(teacher, student[:1], impl=impl)
        with pytest.raises(ValueError, match="mask .* must have the shape"):
            esap(teacher, student, torch.ones(2, device=DEVICE), impl=impl)
    with pytest.raises(ValueError, match="impl='cuda' is unknown"):
        esap(teacher, student, impl="cuda")
    with pytest.raises(ValueError, match="no kernel for torch.float64"):
        esap(teacher.double(), student.double(), impl="triton")
    with pytest.raises(ValueError, match="no gradients"):
        esap(teacher, student.clone().requires_grad_(), impl="triton")


def test_auto_keeps_the_gradient():
    teacher, student = make_logits(3, 50)
    student.requires_grad_()
    esap(teacher, student).backward()
    assert student.grad.abs().sum() > 0


def test_extreme_logits():
    teacher, student = make_logits(6, 9000)
    teacher[0] *= 3e3  # up to 1e4, one token takes all
    student[1] *= 3e3
    teacher[2] += 1e4
    student[2] -= 1e4
    teacher[3, 3000:], student[3, 3000:] = -torch.inf, -torch.inf  # padded vocabulary: whole slices
    teacher[4, ::2], student[4, 1::2] = -torch.inf, -torch.inf  # nothing in common
    teacher[5, 0] = -torch.inf
    assert_rows(esap_rows(teacher, student, impl="triton"), exact(teacher, student))
    assert esap_rows(teacher, student, impl="triton")[4].item() == 0.0


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_shows(value):
    for which in (0, 1):
        logits = make_logits(2, 5000)
        logits[which][0, 3000] = value
        found = esap_rows(*logits, impl="triton")
        assert found[0].isnan() and found[1].isfinite()


@pytest.mark.parametrize("dtype,vocabulary", SIZES)
def test_equal_models_score_one(dtype, vocabulary):
    logits, _ = make_logits(2, vocabulary, dtype=dtype)
    assert_rows(esap_rows(logits, logits, impl="triton"), torch.ones(2, device=DEVICE), tolerance=1e-6)


@pytest.mark.parametrize("soft_cap,scale", [(5.0, 1.0), (None, 0.25), (30.0, 2.0)])
@pytest.mark.parametrize("vocabulary", [2300, 2304])
def test_scale_and_soft_cap(soft_cap, scale, vocabulary):
    teacher, student = make_logits(3, vocabulary)
    teacher[0, 7] = -torch.inf

    def transformed(logits):
        logits = logits.double() * scale
        return logits if soft_cap is None else soft_cap * torch.tanh(logits / soft_cap)

    expected = exact(transformed(teacher), transformed(student))
    known = transformed(teacher).logsumexp(-1).float()
    for impl in ("triton", "torch"):
        options = {"logit_scale": scale, "soft_cap": soft_cap, "impl": impl}
        assert_rows(esap_rows(teacher, student, **options), expected, 4e-6)
        assert_rows(esap_rows(teacher, student, known, **options), expected, 4e-6)


def test_two_launches_give_what_one_gives(monkeypatch):
    """A device too small for all slices of a row at once publishes in one launch and finishes in another."""
    teacher, student = make_logits(5, 9001)
    expected = exact(teacher, student)
    phases = [(True, False), (False, True)]
    monkeypatch.setattr(overlap_rows.OverlapRows, "_phases", lambda self, device: phases)
    assert_rows(esap_rows(teacher, student, impl="triton"), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vocabulary", [50257, 50304, 151936] if DEVICE == "cuda" else [3000])
def test_error_is_not_above_that_of_eager_float32(dtype, vocabulary):
    errors = {"triton": 0.0, "torch": 0.0}
    for scale in (0.5, 2.0, 6.0):
        teacher, student = make_logits(128 if DEVICE == "cuda" else 16, vocabulary, dtype=dtype, scale=scale)
        expected = exact(teacher, student)
        for impl in errors:
            errors[impl] += (esap_rows(teacher, student, impl=impl) - expected).square().mean().sqrt().item()
    assert errors["triton"] <= errors["torch"], errors


@ON_GPU
def test_result_is_the_same_bit_for_bit():
    teacher, student = make_logits(2048, 50304, dtype=torch.bfloat16)
    first = esap_rows(teacher, student, impl="triton")
    assert all(torch.equal(first, esap_rows(teacher, student, impl="triton")) for _ in range(20))


@ON_GPU
def test_memory_is_a_small_part_of_the_logits():
    teacher, student = make_logits(2048, 50304, dtype=torch.bfloat16)
    assert peak_bytes(lambda: esap(teacher, student, impl="triton")) < 0.01 * teacher.nbytes
    hidden, weight = (torch.randn(rows, 2048, device=DEVICE).bfloat16() for rows in (16384, 151936))
    known = torch.full((16384,), 100.0, device=DEVICE)
    assert peak_bytes(lambda: linear_esap(hidden, hidden, weight, teacher_log_sum_exp=known)) < 256 * 10**6
    # The teacher's own maxima and sums come on top.
    assert peak_bytes(lambda: linear_esap(hidden, hidden, weight)) < 280 * 10**6


def peak_bytes(call) -> int:
    """Device memory that `call` takes at most beyond what is held already, from the second call on."""
    call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return torch.cuda.max_memory_allocated() - before
