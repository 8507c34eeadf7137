# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Criteria against the formulas of their papers, and the order that they give."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.calibration.criteria import CRITERIA, order_experts, register_criterion, score_experts
from optimum_evoesap.calibration.statistics import ExpertStatistics, LayerStatistics


def a_layer(routed, *sums):
    sums += ([0.0] * len(routed),) * (6 - len(sums))
    as_sum = [torch.tensor(values, dtype=torch.float64) for values in sums]
    return LayerStatistics(torch.tensor(routed), *as_sum)


def order_by(criterion, layer, num_groups=1):
    return order_experts(score_experts(ExpertStatistics({0: layer}, 1), criterion), {0: num_groups})[0]


def test_criteria_are_the_papers_formulas():
    norms, weights, weighted = [8.0, 10.0, 0.0, 3.0], [1.0, 1.5, 0.0, 0.5], [2.0, 3.0, 0.0, 1.25]
    layer = a_layer([4, 2, 0, 1], norms, weights, weighted, [6.0, 5.0, 0.0, 2.0], [20.0, 52.0, 0.0, 9.0])
    expected = {
        "frequency": [4, 2, 0, 1],
        "ean": [8, 10, 0, 3],
        "seer": [1, 1.5, 0, 0.5],
        "reap": [0.5, 1.5, 0, 1.25],
        "reap_renormalised": [1.5, 2.5, 0, 2],
        "man": [2, 5, 0, 3],
        "msan": [5, 26, 0, 9],
    }
    for name, scores in expected.items():
        assert CRITERIA[name](layer).tolist() == scores
    assert set(expected) == set(CRITERIA)
    assert order_by("reap", layer) == [2, 0, 3, 1]


def test_equal_scores_go_by_expert_index():
    assert order_by("frequency", a_layer([7] * 600)) == list(range(600))


def test_order_takes_from_each_group_in_turn():
    assert order_by("frequency", a_layer([6, 1, 2, 5, 4, 3]), num_groups=2) == [1, 5, 2, 4, 0, 3]


def test_own_criterion():
    @register_criterion("test_last_first")
    def last_first(statistics):
        return -torch.arange(len(statistics.routed_tokens))

    try:
        layer = a_layer([1, 1, 1])
        assert order_by("test_last_first", layer) == [2, 1, 0]
        with pytest.raises(ValueError, match="exists already"):
            register_criterion("reap")(last_first)
        CRITERIA["test_last_first"] = lambda statistics: torch.tensor([1.0, float("nan"), 0.0])
        with pytest.raises(ValueError, match="one finite score"):
            order_by("test_last_first", layer)
        CRITERIA["test_last_first"] = lambda statistics: torch.arange(4)
        with pytest.raises(ValueError, match="each of the 3 experts of layer 0"):
            order_by("test_last_first", layer)
    finally:
        CRITERIA.pop("test_last_first")
