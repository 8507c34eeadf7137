# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The ESAP kernels against float64, on the GPU or in Triton's interpreter."""

from __future__ import annotations

import math

import pytest
import torch

from optimum_evoesap.fitness.esap import esap, linear_esap
from optimum_evoesap.kernels.esap.esap_rows import esap_rows
from optimum_evoesap.kernels.esap.linear_esap import default_chunk_size, linear_esap_rows
from optimum_evoesap.kernels.implementation import runs_products
from tests.kernels.machine import HAS_PRODUCTS, PRODUCT_DTYPES


pytest.importorskip("triton")

from optimum_evoesap.kernels.esap import overlap_rows  # noqa: E402


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.bfloat16, torch.float16, torch.float32]
# The interpreter is slow: there the largest vocabularies in one dtype only.
SMALL, LARGE = [1, 7, 1000, 2048, 5003], [50257, 151936]
SIZES = [(dtype, vocabulary) for dtype in DTYPES for vocabulary in SMALL]
SIZES += [(dtype, vocabulary) for dtype in (DTYPES if DEVICE == "cuda" else DTYPES[:1]) for vocabulary in LARGE]
ON_GPU = pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")


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


FUSED_SIZES = [(1, 40, 16), (130, 300, 136), (140, 384, 64), (257, 513, 72)]
# More tiles than programs, so that a program does one after the other.
FUSED_SIZES += [(1000, 50257, 2048), (300, 151936, 2048)] if DEVICE == "cuda" else []


@pytest.fixture
def fused_calls(monkeypatch):
    """The positions of each chunk that was scored inside the products; where the device cannot, the test ends."""
    if not HAS_PRODUCTS:
        pytest.skip("needs Hopper, or Triton's interpreter")
    from optimum_evoesap.kernels.esap import linear_esap_launch

    calls, overlap = [], linear_esap_launch.FusedProducts.overlap
    monkeypatch.setattr(
        linear_esap_launch.FusedProducts,
        "overlap",
        lambda self, teacher, *others: calls.append(len(teacher)) or overlap(self, teacher, *others),
    )
    return calls


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


@pytest.mark.parametrize("dtype", PRODUCT_DTYPES)
@pytest.mark.parametrize("rows,vocabulary,hidden_size", FUSED_SIZES)
@pytest.mark.parametrize("form", ["plain", "bias", "soft cap", "scale"])
def test_fused_products(dtype, rows, vocabulary, hidden_size, form, fused_calls):
    """The overlap made inside the products; tiles that hang over each edge, and several chunks."""
    teacher, student, weight = make_hidden(rows, vocabulary, hidden_size, dtype)
    bias = torch.randn(2 * vocabulary, device=DEVICE).to(dtype)[::2] if form == "bias" else None
    options = {"soft cap": {"soft_cap": 2.0}, "scale": {"logit_scale": 0.3}}.get(form, {})
    # Torch rounds twice where it adds a bias that is not contiguous.
    whole_bias = None if bias is None else bias.contiguous()
    logits = [torch.nn.functional.linear(hidden, weight, whole_bias).double() for hidden in (teacher, student)]
    logits = [each * options.get("logit_scale", 1.0) for each in logits]
    if form == "soft cap":
        logits = [2.0 * torch.tanh(each / 2.0) for each in logits]
    expected, known = exact(*logits), logits[0].logsumexp(-1).float()
    options |= {"teacher_log_sum_exp": known, "impl": "triton"}
    for chunk_size in (None, 128, 100):
        assert_about(
            linear_esap_rows(teacher, student, weight, bias, chunk_size=chunk_size, **options), expected, dtype
        )
        assert sum(fused_calls) == rows and max(fused_calls) <= (chunk_size or rows)
        fused_calls.clear()


@pytest.mark.parametrize("dtype", PRODUCT_DTYPES)
def test_equal_models_score_one_inside_the_products(dtype, fused_calls):
    hidden, _, weight = make_hidden(140, 5000 if DEVICE == "cpu" else 50304, 64, dtype)
    known = (hidden @ weight.T).double().logsumexp(-1).float()
    rows = linear_esap_rows(hidden, hidden, weight, None, known, impl="triton")
    # The log-sum-exp is that of logits by another product, a few of which round in another way.
    assert fused_calls and (rows - 1).abs().max().item() < 1e-3 and abs(rows.mean().item() - 1) < 1e-5


def test_fused_products_with_logits_that_are_not_finite(fused_calls):
    teacher, student, weight = make_hidden(4, 700, 64, PRODUCT_DTYPES[0])
    bias = torch.zeros(700, dtype=weight.dtype, device=DEVICE)
    bias[:300], bias[-200:] = -torch.inf, -torch.inf  # whole parts of a row
    logits = [(hidden @ weight.T).double() + bias.double() for hidden in (teacher, student)]
    known, options = logits[0].logsumexp(-1).float(), {"impl": "triton"}
    assert_about(linear_esap_rows(teacher, student, weight, bias, known, **options), exact(*logits), weight.dtype)
    teacher[1], student[2] = torch.nan, torch.nan
    found = linear_esap_rows(teacher, student, weight, bias, known, **options)
    assert found.isnan().tolist() == [False, True, True, False] and fused_calls == [4, 4]


@pytest.mark.parametrize("height", [100.0, -torch.inf])
@pytest.mark.parametrize("first", [0, 1])
def test_fused_products_with_logits_far_apart(height, first, fused_calls):
    """Even columns far above odd ones, and the other way round: neither half of a word may be left out."""
    teacher, student, weight = make_hidden(4, 700, 64, PRODUCT_DTYPES[0])
    bias = torch.zeros(700, dtype=weight.dtype, device=DEVICE)
    bias[first::2] = height
    logits = [torch.nn.functional.linear(hidden, weight, bias).double() for hidden in (teacher, student)]
    known = logits[0].logsumexp(-1).float()
    found = linear_esap_rows(teacher, student, weight, bias, known, impl="triton")
    # Rounding of logits near 100, where half precision is coarse, is that of the products and not of the overlap.
    assert (found - exact(*logits)).abs().max().item() < 0.05 and fused_calls == [4]


def test_what_is_not_fused_comes_to_the_same(fused_calls):
    """Rows that are no whole 16 bytes, a weight that is transposed, one row for all."""
    dtype = PRODUCT_DTYPES[0]
    teacher, student, weight = make_hidden(9, 300, 100, dtype)
    known, expected = (teacher @ weight.T).float().logsumexp(-1), exact(teacher @ weight.T, student @ weight.T)
    assert_about(linear_esap_rows(teacher, student, weight, None, known, impl="triton"), expected, dtype)
    teacher, student, weight = make_hidden(9, 304, 64, dtype)
    known, expected = (teacher @ weight.T).float().logsumexp(-1), exact(teacher @ weight.T, student @ weight.T)
    turned = weight.T.contiguous().T
    assert_about(linear_esap_rows(teacher, student, turned, None, known, impl="triton"), expected, dtype)
    one, known = teacher[:1].expand(9, -1), known[:1].expand(9)
    expected = exact(one @ weight.T, student @ weight.T)
    assert_about(linear_esap_rows(one, student, weight, None, known, impl="triton"), expected, dtype)
    assert not fused_calls
    padded = torch.cat((weight, torch.full_like(weight[:50], torch.nan)))[: len(weight)]
    assert_about(linear_esap_rows(one.contiguous(), student, padded, None, known, impl="triton"), expected, dtype)
    assert fused_calls == [9]


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
