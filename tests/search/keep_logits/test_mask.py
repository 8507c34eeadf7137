# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Draws around keep logits: hard forwards, soft backwards."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.keep_logits.logits import candidate_of
from optimum_evoesap.search.keep_logits.mask import KeepMask


SPACE = AllocationSpace.from_limits([8, 8, 8], [2, 2, 2], 12)
LOGITS = {layer: [0.25 * (expert - 4) + 0.4 * layer for expert in range(8)] for layer in range(3)}


def make_mask(seed=0, space=SPACE, logits=LOGITS, **options):
    return KeepMask(logits, lambda values: candidate_of(values, space), seed, **options)


def gradient(mask, factors):
    mask.values.grad = None
    torch.cat(list(factors.values())).sum().backward()
    return dict(zip(factors, mask.values.grad.split([len(each) for each in factors.values()])))


def test_factors_are_exactly_those_of_a_candidate_of_the_budget():
    mask, seen = make_mask(), set()
    for _ in range(50):
        factors = mask.draw(0.3, 1.0)
        values = torch.cat(list(factors.values()))
        assert set(values.tolist()) == {0.0, 1.0} and values.sum() == 12
        seen.add(tuple(values.tolist()))
    assert len(seen) > 40, "the noise must try different ones"
    assert all(mask.logits()[layer] == pytest.approx(each) for layer, each in LOGITS.items())


def test_without_noise_the_draw_is_the_candidate_of_the_logits_itself():
    factors = make_mask().draw(1.0, 0.0)
    kept = {layer: tuple(each.nonzero()[:, 0].tolist()) for layer, each in factors.items()}
    assert kept == dict(candidate_of(LOGITS, SPACE).layers)


def test_the_same_seed_draws_the_same():
    one, same, other = (make_mask(seed) for seed in (1, 1, 2))
    draws = [[torch.cat(list(mask.draw(1.0, 1.0).values())) for _ in range(5)] for mask in (one, same, other)]
    assert all(map(torch.equal, draws[0], draws[1])) and not all(map(torch.equal, draws[0], draws[2]))


def test_the_gradient_is_that_of_a_sigmoid_at_a_threshold_that_keeps_as_many():
    mask = make_mask()
    found = gradient(mask, mask.draw(0.5, 0.0))
    values = torch.tensor([LOGITS[layer] for layer in LOGITS]).flatten()
    # The threshold by another way: from a fine grid.
    grid = torch.linspace(-2, 2, 400_001, dtype=torch.float64)
    sums = torch.sigmoid((values.double()[None] - grid[:, None]) / 0.5).sum(dim=1)
    soft = torch.sigmoid((values - grid[(sums - 12).abs().argmin()]) / 0.5)
    torch.testing.assert_close(
        torch.cat(list(found.values())), (soft * (1 - soft) / 0.5).float(), atol=1e-4, rtol=1e-4
    )


def test_a_layer_at_its_limit_has_a_threshold_of_its_own():
    """Otherwise its experts, all far from the shared one, would learn nothing of each other."""
    space = AllocationSpace.from_limits([8, 8], [4, 4], 8)
    logits = {0: [expert / 4 for expert in range(8)], 1: [50 + expert / 4 for expert in range(8)]}
    shared = make_mask(0, space, logits)
    assert max(each.max() for each in gradient(shared, shared.draw(0.1, 0.0)).values()) < 1e-3
    mask = make_mask(0, space, logits, least={0: 4, 1: 4})
    found = gradient(mask, mask.draw(0.1, 0.0))
    for layer in (0, 1):
        assert found[layer].argmax() in (3, 4) and found[layer].max() > 1.0
    torch.testing.assert_close(found[0], found[1], rtol=1e-2, atol=1e-4)
