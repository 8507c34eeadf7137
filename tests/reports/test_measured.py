# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A short measurement of a model: what it says of the routing, of the layers and of what is left over sparsity."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from optimum_evoesap import EvoESAPConfig
from optimum_evoesap.calibration.criteria import order_experts, score_experts
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.calibration.statistics import ExpertStatistics, LayerStatistics
from optimum_evoesap.data import DataError
from optimum_evoesap.fitness.slices import SliceScorer
from optimum_evoesap.reports.measured import layer_prunability, measure_prunability
from optimum_evoesap.search.curves import Curve
from tests.model_matrix import make_model, random_tokens, sparse_model_of


CONFIG = EvoESAPConfig(criterion="frequency", sequence_length=16, batch_size=4)


def rows(count=18, seed=0):
    return [{"input_ids": tokens} for tokens in random_tokens(count, 16, seed)]


def measure(model_type="olmoe", config=CONFIG, data=None, **options):
    model = sparse_model_of(make_model(model_type))
    return model, measure_prunability(model, config, data or rows(), **options)


def test_outlooks_are_scores_on_windows_that_were_not_learned_from():
    model, found = measure()
    assert found.tokens == {"routing": 12 * 16, "curves": 12 * 16, "outlooks": 6 * 16}
    assert [each.removed_experts for each in found.outlooks] == [3, 6, 9, 12, 15, 18]  # 70% rounds to what 75% is
    scorer = SliceScorer(model, _batches(rows()[12:], 4))
    for each in found.outlooks:
        assert sum(each.allocation) == each.removed_experts
        assert 0 < each.fitness < 1 and 0 < each.uniform < 1
    # The last one takes all that can go, so that both are the same.
    last = found.outlooks[-1]
    assert last.allocation == [6, 6, 6] and last.fitness == last.uniform
    order = _by_frequency(model, rows()[:12])
    kept = {layer: sorted(experts[6:]) for layer, experts in order.items()}
    assert scorer.score(kept).mean == pytest.approx(last.fitness, abs=1e-6)


def test_curves_are_what_a_layer_loses_alone():
    model, found = measure()
    scorer = SliceScorer(model, _batches(rows()[:12], 4))
    order = _by_frequency(model, rows()[:12])
    for layer in found.layers:
        assert list(layer.curve) == [1, 2, 3, 4, 5, 6]
        for count, loss in layer.curve.items():
            kept = {layer.index: sorted(order[layer.index][count:])}
            assert 1 - scorer.score(kept).mean == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize(
    ("tokens", "busiest", "entropy", "few"),
    [
        ([10] * 8, 0.25, 1.0, 0),
        ([80, 80, 0, 0, 0, 0, 0, 0], 1.0, 1 / 3, 6),
        ([40, 20, 10, 10, 0, 0, 0, 0], 0.75, 1.75 / 3, 4),
        ([0] * 8, None, None, 0),
    ],
)
def test_the_routing_of_a_layer(tokens, busiest, entropy, few):
    layer = sparse_model_of(make_model("olmoe")).layers[0]
    statistics = ExpertStatistics({0: replace(LayerStatistics.zeros(8), routed_tokens=torch.tensor(tokens))}, 80)
    found = layer_prunability(layer, statistics, Curve((0, 4), (0.0, 0.5)))
    assert (found.busiest_quarter, found.hardly_reached) == (busiest, few)
    assert found.entropy == (entropy if entropy is None else pytest.approx(entropy))
    assert found.curve == {4: 0.5}


def test_routing_is_that_of_the_windows_learned_from():
    model, found = measure()
    statistics = _statistics(model, rows()[:12])
    assert found.layers == [
        layer_prunability(layer, statistics, Curve.through({0: 0.0} | each.curve))
        for layer, each in zip(model.layers, found.layers)
    ]


def test_the_model_is_whole_afterwards():
    model = make_model("olmoe")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measure_prunability(sparse_model_of(model), CONFIG, rows())
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_experts_that_stay_stay():
    _, found = measure(config=CONFIG.replace(keep={0: [0, 1, 2, 3, 4, 5, 6, 7]}))
    assert found.layers[0].curve == {}
    assert all(each.allocation[0] == 0 for each in found.outlooks)


def test_a_measured_criterion_learns_from_the_same_windows():
    _, found = measure(config=CONFIG.replace(criterion="esap"))
    assert found.criterion == "esap" and found.tokens["outlooks"] == 6 * 16


def test_one_window_is_too_few():
    with pytest.raises(DataError, match="1 windows are too few to measure on some and score on others"):
        measure(data=rows(1))


def test_sparsities_that_cannot_be_reached_are_left_out():
    _, found = measure(sparsities=[0.9, 0.5, 0.01])
    assert [each.sparsity for each in found.outlooks] == [0.5]


def _batches(given, size):
    tokens = torch.stack([torch.tensor(list(map(int, row["input_ids"]))) for row in given])
    return [{"input_ids": part, "labels": part.clone()} for part in tokens.split(size)]


def _statistics(model, given):
    return observe_experts(model, _batches(given, 4), progress=False)


def _by_frequency(model, given):
    return order_experts(score_experts(_statistics(model, given), "frequency"))


def test_a_criterion_that_is_chosen_at_one_sparsity_is_refused():
    with pytest.raises(ValueError, match="criterion='auto' chooses by the score at one sparsity"):
        measure_prunability("no model is read", EvoESAPConfig(criterion="auto"))
