# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Warnings of narrow data: where they are due, what they say to do, and where there are none."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.data import TokenizedData, prepare_data
from optimum_evoesap.run.breadth import warn_of_experts_hardly_reached
from tests.data.texts import options
from tests.model_matrix import layers_of, make_model
from tests.pruning import make_pruner, rows


HARDLY = "got fewer than 8 of the"


def marked(count, domains, seed=0):
    return TokenizedData(prepare_data(rows(count, seed), options(count)).sequences, "given", domains)


def test_a_run_on_few_tokens_says_how_many_experts_are_hardly_known(caplog):
    """Real counts: 16 tokens of which each takes two of eight experts; 320 are enough."""
    pruner = make_pruner(calibration_samples=20)
    few = pruner.calibrate(rows(1))
    counts = torch.cat([layer.routed_tokens for layer in few.layers.values()])
    number = int((counts < 8).sum())
    assert number > len(counts) / 2
    assert f"{number} of 24 experts ({100 * number / 24:.0f}%) {HARDLY} 16 calibration tokens" in caplog.text
    assert "calibration_samples" in caplog.text and caplog.text.count(HARDLY) == 1
    caplog.clear()
    pruner.calibrate(rows(20))
    assert HARDLY not in caplog.text


def test_a_tenth_of_hardly_used_experts_is_nothing_unusual(caplog):
    layers = layers_of(make_model("olmoe"))
    statistics = make_pruner(calibration_samples=20).calibrate(rows(20))
    for layer in statistics.layers.values():
        layer.routed_tokens[:] = 8
    statistics.layers[0].routed_tokens[:2] = 7
    caplog.clear()
    warn_of_experts_hardly_reached(statistics, layers)
    assert not caplog.text
    statistics.layers[0].routed_tokens[2] = 7
    warn_of_experts_hardly_reached(statistics, layers[1:])
    assert not caplog.text, "layers from which no expert may go do not matter"
    warn_of_experts_hardly_reached(statistics, layers)
    assert "3 of 24 experts (12%)" in caplog.text


def test_experts_of_images_are_named_once_and_not_counted_again(caplog):
    """ERNIE 4.5 VL: no text reaches the half of the experts that are for images, of which the observer warns."""
    pruner = make_pruner("ernie4_5_vl_moe", calibration_samples=40)
    statistics = pruner.calibrate(rows(40))
    assert "No token of the calibration data reached the experts" in caplog.text
    of_text = torch.cat([layer.routed_tokens[:8] for layer in statistics.layers.values()])
    assert len(of_text) == sum(pruner.space.num_experts) / 2
    assert f"{int((of_text < 8).sum())} of 16 experts" in caplog.text, "the random router of the model is very uneven"


@pytest.mark.parametrize(
    ("calibration", "search", "is_said"),
    [
        (("code", "math") * 3, ("math",) * 5, True),
        (("code", "math") * 3, ("math", "code") * 2 + ("math",), False),
        (("code", "math") * 3, None, False),
        (("math",) * 6, ("math",) * 5, False),
        (None, ("math",) * 5, False),
    ],
)
def test_search_data_of_one_domain_beside_broad_calibration_data(calibration, search, is_said, caplog):
    pruner = make_pruner(generations=1)
    pruner.prune(None, marked(6, calibration), marked(5, search, seed=1))
    assert ("The search data are of math alone" in caplog.text) is is_said
    assert ("(code, math)" in caplog.text and "as search data" in caplog.text) is is_said


def test_one_held_out_window_is_said_to_be_too_few_for_an_interval(caplog):
    pruner = make_pruner(generations=1)
    pruner.prune(None, rows(), rows(5, seed=1))
    assert "Only one window is held out" in caplog.text and "holdout_fraction" in caplog.text
    assert pruner.result.interval is None
    caplog.clear()
    make_pruner(generations=1, holdout_fraction=0.5).prune(None, rows(), rows(6, seed=1))
    assert "Only one window" not in caplog.text
