# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The overlap made inside the products, against float64."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.kernels.esap.linear_esap import linear_esap_rows
from tests.kernels.esap.helpers import assert_about, exact, make_hidden
from tests.kernels.machine import DEVICE, HAS_PRODUCTS, PRODUCT_DTYPES


pytest.importorskip("triton")


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
