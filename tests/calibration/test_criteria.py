# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Criteria against the formulas of their papers, and the order that they give."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.calibration.criteria import CRITERIA, pruning_order, register_criterion
from optimum_evoesap.calibration.statistics import ExpertStatistics, LayerStatistics


def a_layer(routed, norms, weights, weighted):
    as_sum = [torch.tensor(values, dtype=torch.float64) for values in (norms, weights, weighted)]
    return LayerStatistics(torch.tensor(routed), *as_sum, norm_max=torch.zeros(len(routed)))


def test_criteria_are_the_papers_formulas():
    layer = a_layer([4, 2, 0, 1], [8.0, 10.0, 0.0, 3.0], [1.0, 1.5, 0.0, 0.5], [2.0, 3.0, 0.0, 1.25])
    expected = {
        "frequency": [4, 2, 0, 1],
        "ean": [8, 10, 0, 3],
        "seer": [1, 1.5, 0, 0.5],
        "reap": [0.5, 1.5, 0, 1.25],
    }
    for name, scores in expected.items():
        assert CRITERIA[name](layer).tolist() == scores
    order = pruning_order(ExpertStatistics({5: layer}, 3), "reap")
    assert order == {5: [2, 0, 3, 1]}


def test_equal_scores_go_by_expert_index():
    layer = a_layer([7] * 600, [0.0] * 600, [0.0] * 600, [0.0] * 600)
    assert pruning_order(ExpertStatistics({0: layer}, 1), "frequency") == {0: list(range(600))}


def test_order_takes_from_each_group_in_turn():
    layer = a_layer([6, 1, 2, 5, 4, 3], [0.0] * 6, [0.0] * 6, [0.0] * 6)
    order = pruning_order(ExpertStatistics({0: layer}, 3), "frequency", {0: 2})[0]
    assert order == [1, 5, 2, 4, 0, 3]


def test_own_criterion():
    @register_criterion("test_last_first")
    def last_first(statistics):
        return -torch.arange(len(statistics.routed_tokens))

    try:
        layer = a_layer([1, 1, 1], [0.0] * 3, [0.0] * 3, [0.0] * 3)
        assert pruning_order(ExpertStatistics({0: layer}, 1), "test_last_first") == {0: [2, 1, 0]}
        with pytest.raises(ValueError, match="exists already"):
            register_criterion("reap")(last_first)
        CRITERIA["test_last_first"] = lambda statistics: torch.tensor([1.0, float("nan"), 0.0])
        with pytest.raises(ValueError, match="one finite score"):
            pruning_order(ExpertStatistics({0: layer}, 1), "test_last_first")
        CRITERIA["test_last_first"] = lambda statistics: torch.arange(4)
        with pytest.raises(ValueError, match="each of the 3 experts of layer 0"):
            pruning_order(ExpertStatistics({0: layer}, 1), "test_last_first")
    finally:
        CRITERIA.pop("test_last_first")
