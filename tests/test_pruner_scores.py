# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a run says about its allocation: scores on search and held-out data, compared with the uniform one."""

from __future__ import annotations

import pytest

from optimum_evoesap import EvoESAPConfig
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.fitness.window_scores import WindowScores
from optimum_evoesap.models.virtual_slice import VirtualSlice
from optimum_evoesap.reports.summary import summarize
from tests.model_matrix import layers_of, make_model
from tests.pruning import make_pruner, rows


def test_a_search_that_does_not_beat_uniform_says_so(tmp_path, caplog, monkeypatch):
    # All candidates alike: the best is the uniform one, which does not beat itself.
    monkeypatch.setattr(FitnessScorer, "score", lambda self, sliced: WindowScores((0.5,), (1,)))
    pruner = make_pruner()
    pruner.prune(tmp_path / "out", rows(), rows(seed=1))
    assert pruner.result.beats_uniform is False and pruner.allocation == [4, 4, 4]
    assert any("does not beat the uniform" in record.message for record in caplog.records)
    assert "does not beat the uniform" in (tmp_path / "out" / "README.md").read_text()


def test_too_few_windows_to_hold_some_out_are_said(caplog):
    pruner = make_pruner()
    pruner.prune(None, rows(), rows(2))
    assert pruner.result.beats_uniform is None
    assert any("too few to hold some out" in record.message for record in caplog.records)


@pytest.mark.parametrize("allocation", ["uniform", [6, 0, 0], "evolution"])
def test_search_data_score_an_allocation_that_is_not_searched_too(allocation, tmp_path):
    """One call for every allocation; the scores are those that a search would have found for it."""
    pruner = make_pruner(allocation=allocation)
    pruner.prune(tmp_path / "out", rows(), rows(seed=1))
    result = pruner.result
    assert set(result.scores) == {"best", "uniform", "holdout_best", "holdout_uniform"} and result.fitness == "esap"
    whole = make_model("olmoe")
    search, holdout = (
        FitnessScorer(whole, [{"input_ids": row["input_ids"][None], "labels": row["input_ids"][None]} for row in part])
        for part in (rows(seed=1)[:4], rows(seed=1)[4:5])
    )
    with VirtualSlice(layers_of(whole), pruner.kept_experts):
        assert result.scores["best"] == pytest.approx(search.score().mean, abs=1e-6)
        assert result.scores["holdout_best"] == pytest.approx(holdout.score().mean, abs=1e-6)
    if allocation == "uniform":
        assert result.scores["best"] == result.scores["uniform"] and result.beats_uniform is None
    else:
        assert result.beats_uniform == (result.scores["holdout_best"] > result.scores["holdout_uniform"])
    assert bool(result.history) == (allocation == "evolution")
    card = (tmp_path / "out" / "README.md").read_text()
    assert ("evolutionary search that maximises" in card) == (allocation == "evolution")
    assert f"{result.scores['best']:.4f}" in card


def test_scores_without_held_out_windows_say_why_they_were_not_compared(tmp_path):
    for options, count, reason in (
        ({"holdout_fraction": 0.0}, 6, "holdout_fraction=0"),
        ({}, 2, "2 windows are too few to hold some out"),
        ({"allocation": "uniform"}, 6, "it is the uniform allocation"),
    ):
        pruner = make_pruner(**options)
        pruner.prune(tmp_path / "out", rows(), rows(count))
        assert pruner.result.beats_uniform is None and pruner.result.not_compared_because == reason
        assert reason in summarize(pruner.result, "out") and reason in (tmp_path / "out" / "README.md").read_text()


def test_counts_that_are_the_uniform_ones_are_not_said_to_lose_against_it(caplog):
    pruner = make_pruner(allocation=[4, 4, 4])
    pruner.prune(None, rows(), rows(seed=1))
    assert pruner.result.beats_uniform is None and "uniform allocation" in pruner.result.not_compared_because
    assert "does not beat" not in caplog.text


def test_a_run_without_search_data_names_none(tmp_path):
    make_pruner(allocation="uniform").prune(tmp_path / "out", rows())
    assert EvoESAPConfig.from_pretrained(tmp_path / "out").search_dataset is None
    assert "tulu" not in (tmp_path / "out" / "README.md").read_text()
