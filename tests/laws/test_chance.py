# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Results do not depend on chance: neither on batches, nor on threads, nor on the order of windows.

Bit-equal are: the same run again, and another order of the windows for scores of windows that have batches of their
own, since sums of windows are added exactly. Another number of windows or threads changes the order in which the model
adds up float32 numbers, and another order of the calibration windows that of the statistics: there the allocation is
the same, and scores agree within rounding.
"""

from __future__ import annotations

import random

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner
from tests.model_matrix import make_model
from tests.pruning import SMALL, rows


# Of the scores, which lie between 0 and 1; float32 has a rounding of 6e-8, and the models have few layers.
ROUNDING = 1e-6
# A number of windows that are searched on, and those that are held out behind them.
SEARCHED, HELD_OUT = 6, 3
OPTIONS = SMALL | {
    "racing": False,
    "guard": False,
    "search_samples": SEARCHED,
    "holdout_fraction": HELD_OUT / SEARCHED,
}
MODEL_TYPES = ("olmoe", "deepseek_v3", "mixtral")


def found(model_type, calibration=None, search=None, **options):
    pruner = MoEPruner(make_model(model_type), EvoESAPConfig(**OPTIONS | options))
    pruner.prune(None, calibration or rows(6), search or rows(SEARCHED + HELD_OUT, seed=1))
    return pruner.result


def shuffled(windows, seed=0):
    return random.Random(seed).sample(windows, len(windows))


def shuffled_search():
    """Each part in another order, since what is held out is told by its place."""
    windows = rows(SEARCHED + HELD_OUT, seed=1)
    return shuffled(windows[:SEARCHED]) + shuffled(windows[SEARCHED:])


@pytest.fixture(scope="module", params=MODEL_TYPES)
def first(request):
    return request.param, found(request.param)


def assert_same_within_rounding(result, expected):
    assert result.kept_experts == expected.kept_experts
    assert result.scores == pytest.approx(expected.scores, abs=ROUNDING)
    assert result.interval == pytest.approx(expected.interval, abs=ROUNDING)


def test_the_same_run_gives_the_same_bits(first):
    model_type, expected = first
    torch.manual_seed(99)  # what others have drawn does not matter
    random.seed(99)
    assert found(model_type) == expected


@pytest.mark.parametrize("batch_size", [1, 3, 6])
def test_windows_at_once_change_rounding_alone(batch_size, first):
    model_type, expected = first
    assert_same_within_rounding(found(model_type, batch_size=batch_size), expected)


def test_threads_change_rounding_alone(first):
    model_type, expected = first
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert_same_within_rounding(found(model_type), expected)
    finally:
        torch.set_num_threads(threads)


def test_the_order_of_calibration_windows_changes_rounding_alone(first):
    model_type, expected = first
    assert_same_within_rounding(found(model_type, calibration=shuffled(rows(6))), expected)


def test_the_order_of_search_windows_changes_rounding_alone(first):
    model_type, expected = first
    result = found(model_type, search=shuffled_search())
    assert result.kept_experts == expected.kept_experts
    assert result.scores == pytest.approx(expected.scores, abs=ROUNDING)


def test_the_order_of_search_windows_with_batches_of_their_own_changes_no_bit(first):
    model_type, _ = first
    results = [found(model_type, search=search, batch_size=1) for search in (None, shuffled_search())]
    assert results[0].kept_experts == results[1].kept_experts
    assert results[0].scores == results[1].scores and results[0].history == results[1].history
