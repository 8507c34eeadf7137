# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a run says about its allocation: scores on search and held-out data, compared with the uniform one."""

from __future__ import annotations

import logging

import pytest

from optimum_evoesap import EvoESAPConfig, PruningResult
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.models.virtual_slice import VirtualSlice
from optimum_evoesap.reports.markdown import plain
from optimum_evoesap.reports.summary import summarize
from tests.model_matrix import layers_of, make_model
from tests.pruning import is_better, make_pruner, rows


def misleading(seed):
    """Search windows that are all one and the same, and four others that are held out."""
    return rows(1, seed) * 4 + rows(4, seed + 100)


def pruned_by_misleading_data(seed, folder=None, **options):
    pruner = make_pruner(search_samples=4, holdout_fraction=1.0, **options)
    pruner.prune(folder, rows(), misleading(seed))
    return pruner


def test_where_what_was_found_does_not_beat_uniform_the_uniform_one_is_taken(tmp_path, caplog):
    pruner = pruned_by_misleading_data(7, tmp_path / "out")
    result, scores = pruner.result, pruner.scores
    assert scores["found"] > scores["uniform"] == scores["best"], "what was found is better where it was searched"
    assert scores["holdout_best"] == scores["holdout_uniform"] and "holdout_found" in scores
    assert result.is_guarded and result.beats_uniform is False and pruner.allocation == [4, 4, 4]
    low, high = result.interval
    assert low < scores["holdout_found"] - scores["holdout_uniform"] < high and low < 0 < high
    assert PruningResult.load(tmp_path / "out") == result
    card = (tmp_path / "out" / "README.md").read_text()
    for text in (summarize(result, "out"), card):
        assert f"{scores['holdout_found']:.4f}" in text and f"{low:+.4f} to {high:+.4f} (95%)" in text
    assert "so the uniform one was taken" in summarize(result, "out") and "this is the uniform one" in card
    assert "nothing better was found by an evolutionary search" in card
    assert f"{scores['holdout_found']:.4f}" in repr(result) and f"{low:+.4f} to {high:+.4f}" in repr(result)
    assert any("does not beat the uniform" in record.message for record in caplog.records)


def test_a_higher_mean_alone_beats_nothing():
    result = pruned_by_misleading_data(0).result
    assert result.scores["holdout_found"] > result.scores["holdout_uniform"] and result.interval[0] < 0
    assert result.is_guarded and not result.beats_uniform


def test_without_the_guard_what_was_found_is_taken_and_said_not_to_beat_uniform(tmp_path):
    guarded = pruned_by_misleading_data(7).result
    pruner = pruned_by_misleading_data(7, tmp_path / "out", guard=False)
    result = pruner.result
    assert pruner.allocation != [4, 4, 4] and not result.is_guarded and result.beats_uniform is False
    assert result.interval == guarded.interval and result.scores["holdout_best"] == guarded.scores["holdout_found"]
    assert "does NOT beat" in summarize(result, "out") and "was taken" not in summarize(result, "out")
    assert "does not beat the uniform" in (tmp_path / "out" / "README.md").read_text()


def test_a_search_that_finds_the_uniform_allocation_says_so(tmp_path):
    pruner = pruned_by_misleading_data(2, tmp_path / "out")
    assert pruner.allocation == [4, 4, 4] and pruner.result.interval == [0, 0]
    assert pruner.result.beats_uniform is False and not pruner.result.is_guarded
    assert "It is itself uniform" in (tmp_path / "out" / "README.md").read_text()


def test_too_few_windows_to_hold_some_out_are_said(caplog):
    pruner = make_pruner()
    pruner.prune(None, rows(), rows(2))
    assert pruner.result.beats_uniform is None
    assert any("too few to hold some out" in record.message for record in caplog.records)


@pytest.mark.parametrize("allocation", ["uniform", [6, 0, 0], "evolution"])
def test_search_data_score_an_allocation_that_is_not_searched_too(allocation, tmp_path):
    """One call for every allocation; the scores are those that a search would have found for it."""
    pruner = make_pruner(allocation=allocation, holdout_fraction=0.5)
    pruner.prune(tmp_path / "out", rows(), rows(6, seed=1))
    result = pruner.result
    found = {"found", "holdout_found"} if result.is_guarded else set()
    assert set(result.scores) == {"best", "uniform", "holdout_best", "holdout_uniform"} | found
    assert result.fitness == "esap" and len(result.interval) == 2
    assert bool(result.stopped_because) == (allocation == "evolution")
    whole = make_model("olmoe")
    search, holdout = (
        FitnessScorer(whole, [{"input_ids": row["input_ids"][None], "labels": row["input_ids"][None]} for row in part])
        for part in (rows(6, seed=1)[:4], rows(6, seed=1)[4:])
    )
    with VirtualSlice(layers_of(whole), pruner.kept_experts):
        assert result.scores["best"] == pytest.approx(search.score().mean, abs=1e-6)
        assert result.scores["holdout_best"] == pytest.approx(holdout.score().mean, abs=1e-6)
    if allocation == "uniform":
        assert result.scores["best"] == result.scores["uniform"] and result.beats_uniform is None
    else:
        assert result.beats_uniform == is_better(result)
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
        assert reason in summarize(pruner.result, "out")
        assert plain(reason) in (tmp_path / "out" / "README.md").read_text()


def test_counts_that_are_the_uniform_ones_are_not_said_to_lose_against_it(caplog):
    pruner = make_pruner(allocation=[4, 4, 4])
    pruner.prune(None, rows(), rows(seed=1))
    assert pruner.result.beats_uniform is None and "uniform allocation" in pruner.result.not_compared_because
    assert "does not beat" not in caplog.text


def test_a_run_without_search_data_names_none(tmp_path):
    make_pruner(allocation="uniform").prune(tmp_path / "out", rows())
    assert EvoESAPConfig.from_pretrained(tmp_path / "out").search_dataset is None
    assert "tulu" not in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("guard", [True, False])
def test_one_held_out_window_gives_no_interval_and_the_higher_score_decides(guard, tmp_path, caplog):
    """What is found scores lower there on misleading data, and higher on others."""
    worse, better = (make_pruner(search_samples=4, holdout_fraction=0.25, guard=guard) for _ in range(2))
    with caplog.at_level(logging.WARNING):
        worse.prune(tmp_path / "worse", rows(), misleading(8)[:5])
        assert "Only one window is held out" in caplog.text and "the higher score on it decides" in caplog.text
        assert "one window is too few for an interval" in caplog.text
        caplog.clear()
        better.prune(tmp_path / "better", rows(), rows(seed=1))
    assert "does not beat" not in caplog.text
    for pruner, name, beats in ((worse, "worse", False), (better, "better", True)):
        result, scores = pruner.result, pruner.scores
        card = (tmp_path / name / "README.md").read_text()
        assert result.interval is None and result.beats_uniform is beats
        assert PruningResult.load(tmp_path / name) == result
        assert result.is_guarded is (guard and not beats) and result.not_compared_because == ""
        found = scores.get("holdout_found", scores["holdout_best"])
        assert (found > scores["holdout_uniform"]) is beats
        for text in (card, summarize(result, "out")):
            assert "There is no interval that tells how sure this is." in text and "(95%)" not in text
        assert "difference: no interval" in repr(result)
