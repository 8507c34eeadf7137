# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The summary that is printed at the end of a run."""

from __future__ import annotations

from optimum_evoesap import PruningResult
from optimum_evoesap.reports.summary import summarize


def a_result(**changes):
    values = {
        "base_model": "some/model",
        "model_type": "olmoe",
        "criterion": "reap",
        "fitness": "esap",
        "sparsity": 0.5,
        "budget": 8,
        "sparse_layers": [1, 2],
        "num_experts": [8, 8],
        "allocation": [2, 6],
        "kept_experts": {1: [0, 1, 2, 3, 4, 5], 2: [0, 1]},
        "scores": {"best": 0.8, "uniform": 0.7, "holdout_best": 0.6, "holdout_uniform": 0.65},
        "beats_uniform": False,
        "parameters": {"before": 2_000_000, "after": 1_000_000},
        "size_in_bytes": {"before": 4_000_000, "after": 2_000_000},
    }
    return PruningResult(**(values | changes))


def test_summary_tells_what_came_out():
    text = summarize(a_result(), "out")
    assert "2.00M" in text and "4.00 MB" in text and "-50.0%" in text
    assert f"{'#' * 24}{'.' * 8}  6 of 8" in text and f"{'#' * 8}{'.' * 24}  2 of 8" in text
    half_the_size = summarize(a_result(num_experts=[8, 4], allocation=[2, 2]), "out")
    assert f"{'#' * 8}{'.' * 8}  2 of 4" in half_the_size
    assert "does NOT beat" in text and "0.6500" in text
    assert "import optimum_evoesap" in text
    fewer = {
        "scores": {"best": 0.8, "uniform": 0.7},
        "beats_uniform": None,
        "not_compared_because": "2 windows are few",
    }
    assert "was not compared with the uniform allocation" in summarize(a_result(**fewer), "out")
    assert "2 windows are few" in summarize(a_result(**fewer), "out")
    uniform = summarize(a_result(allocation=[4, 4], scores={}, beats_uniform=None), "out")
    compared = summarize(a_result(interval=[-0.08, -0.02], stopped_because="max_minutes=5 is reached"), "out")
    assert "(difference -0.0800 to -0.0200 (95%))" in compared and "The search ended: max_minutes=5" in compared
    assert "import optimum_evoesap" not in uniform and "There were no search data" in uniform


def test_what_was_found_and_not_taken_is_shown_beside_what_was():
    scores = dict.fromkeys(("best", "uniform", "holdout_best", "holdout_uniform"), 0.7)
    scores |= {"found": 0.81, "holdout_found": 0.69}
    guarded = a_result(scores=scores, interval=[-0.03, 0.01], is_guarded=True, allocation=[4, 4])
    text = summarize(guarded, "out")
    assert "found" in text.split("held-out data")[0] and "0.8100" in text and "0.6900" in text
    assert "found does NOT beat the uniform one" in text and "-0.0300 to +0.0100 (95%)" in text
    assert "so the uniform one was taken" in text and "--no-guard" in text
    assert "found" not in summarize(a_result(), "out")
