# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The digest of values sees what people do to weights, and a single bit."""

from __future__ import annotations

import random

import pytest
import torch

from optimum_evoesap.run.fingerprint import tensors_digest


FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
DTYPES = [*FLOATS, torch.int64, torch.uint8]
# Experts, rows and columns: smaller than a block of the digest, larger than some, and odd.
SHAPES = [(4, 8, 16), (3, 130, 257), (5, 7, 11)]


def digest(values):
    return tensors_digest({"weight": values})


def values_of(shape, dtype):
    generator = torch.Generator().manual_seed(1)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    return torch.randint(1, 100, shape, generator=generator).to(dtype)


def negated(*place):
    def change(values):
        values[place] = -values[place]

    return change


def negate_two(values):
    flat = values.view(-1)
    flat[[3, 11]] = -flat[[3, 11]]


def swapped(dim, one, other):
    def change(values):
        order = list(range(values.shape[dim]))
        order[one], order[other] = other, one
        values.copy_(values.index_select(dim, torch.tensor(order)))

    return change


def swap_two(values):
    flat = values.view(-1)
    flat[[1, 9]] = flat[[9, 1]]


NEGATIONS = {
    "all": negated(...),
    "an expert": negated(1),
    "a row": negated(1, 2),
    "a column": negated(..., 3),
    "every 2nd column": negated(..., slice(None, None, 2)),
    "every 4th column": negated(..., slice(3, None, 4)),
    "two values": negate_two,
}
SWAPS = {
    "experts": swapped(0, 0, 2),
    "rows": swapped(1, 1, 4),
    "columns": swapped(2, 0, 4),
    "neighbouring columns": swapped(2, 2, 3),
    "two values": swap_two,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NEGATIONS)
def test_it_sees_negated_values(name, dtype, shape):
    values = values_of(shape, dtype)
    before = digest(values)
    NEGATIONS[name](values)
    assert digest(values) != before
    NEGATIONS[name](values)
    assert digest(values) == before


@pytest.mark.parametrize("dtype", FLOATS)
def test_it_sees_any_two_negated_values(dtype):
    values = values_of((16, 16), dtype)
    seen = {digest(values)}
    flat = values.view(-1)
    for other in range(1, 256):
        places = [0, other]
        flat[places] = -flat[places]
        seen.add(digest(values))
        flat[places] = -flat[places]
    assert len(seen) == 256


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SWAPS)
def test_it_sees_values_that_change_places(name, dtype, shape):
    values = values_of(shape, dtype)
    before = digest(values)
    SWAPS[name](values)
    assert digest(values) != before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 7, 1001, 2**17 + 3])
def test_it_sees_a_single_bit(size, dtype):
    values = values_of((size,), dtype)
    before, content, draw = digest(values), values.view(torch.uint8), random.Random(0)
    for _ in range(40):
        place, bit = draw.randrange(len(content)), 1 << draw.randrange(8)
        content[place] ^= bit
        assert digest(values) != before
        content[place] ^= bit
    assert digest(values) == before


@pytest.mark.parametrize("size", [1, 9, 2**17 + 5])
def test_it_sees_a_single_truth_value(size):
    values = torch.zeros(size, dtype=torch.bool)
    before = digest(values)
    for place in {0, size // 2, size - 1}:
        values[place] = True
        assert digest(values) != before
        values[place] = False


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", [lambda each: each.T, lambda each: each[1:, 1::2], lambda each: each[3:, :]])
def test_of_a_view_it_sees_the_values_of_the_view(view, dtype):
    whole = values_of((37, 41), dtype)
    values = view(whole)
    before = digest(values)
    assert digest(values.clone(memory_format=torch.contiguous_format)) == before
    whole[0, 0] += 1
    assert (digest(values) == before) == (values[0, 0] != whole[0, 0]).item()
    values[5, 7] += 1
    assert digest(values) != before


def test_it_does_not_depend_on_the_order_of_names():
    one, other = values_of((3, 5), torch.float32), values_of((7,), torch.int64)
    assert tensors_digest({"a": one, "b": other}) == tensors_digest({"b": other, "a": one})
    assert tensors_digest({"a": one, "b": other}) != tensors_digest({"a": other, "b": one})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_the_same_on_a_gpu(dtype):
    for size in (1, 1001, 2**23 + 3):
        values = values_of((size,), dtype)
        assert digest(values.cuda()) == digest(values)


def test_it_does_not_matter_how_many_blocks_are_read_at_once(monkeypatch):
    """A GPU reads many, the CPU one."""
    values = values_of((2**18 + 3,), torch.bfloat16)
    one = digest(values)
    monkeypatch.setattr("optimum_evoesap.run.fingerprint._CPU_BLOCKS_AT_ONCE", 3)
    assert digest(values) == one
