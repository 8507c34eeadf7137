# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which experts are left out together."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.calibration.left_out import experts_left_out
from optimum_evoesap.calibration.statistics import LayerStatistics
from tests.model_matrix import layers_of, make_model, uniformly_kept


def used(*routed_tokens):
    sums = LayerStatistics.zeros(len(routed_tokens))
    sums.routed_tokens += torch.tensor(routed_tokens)
    return sums


def test_one_expert_alone_where_there_are_no_groups():
    (layer, *_) = layers_of(make_model("olmoe"))
    assert experts_left_out(layer, used(*range(8))) == [(expert,) for expert in range(8)]


def test_the_least_used_expert_of_each_other_group_goes_with_it():
    (layer, *_) = layers_of(make_model("deepseek_v3"))
    assert layer.num_groups == 3
    found = experts_left_out(layer, used(5, 3, 3, 9, 7, 8, 1, 0, 2, 2, 2, 2))
    # The partners are 1, 7 and 8: of those used equally little the lowest.
    assert found[:4] == [(0, 7, 8), (1, 7, 8), (2, 7, 8), (3, 7, 8)]
    assert found[4:8] == [(1, 4, 8), (1, 5, 8), (1, 6, 8), (1, 7, 8)]
    assert found[8:] == [(1, 7, 8), (1, 7, 9), (1, 7, 10), (1, 7, 11)]


@pytest.mark.parametrize("model_type", ["ernie4_5_vl_moe", "jetmoe"])
def test_blocks_under_one_count_are_groups(model_type):
    layer = layers_of(make_model(model_type))[-1]
    assert len(layer.blocks) == 2
    found = experts_left_out(layer, used(*range(16, 0, -1)))
    assert found[0] == (0, 15) and found[15] == (7, 15)


def test_a_layer_that_cannot_lose_an_expert():
    layer = next(layer for layer in layers_of(make_model("deepseek_v4")) if layer.unprunable_reason)
    assert experts_left_out(layer, used(*range(layer.num_experts))) == []
    (layer, *_) = layers_of(make_model("olmoe"))
    layer.remove_all_but(uniformly_kept(layer, layer.min_kept))
    assert experts_left_out(layer, used(*range(layer.num_experts))) == []
