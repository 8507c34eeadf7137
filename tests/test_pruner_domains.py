# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Runs whose search data are a mixture: scores by domain, and the worst domain as the goal."""

from __future__ import annotations

import logging

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, PruningResult
from optimum_evoesap.data import DataError, TokenizedData
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.models.virtual_slice import VirtualSlice
from optimum_evoesap.reports.summary import summarize
from tests.model_matrix import layers_of, make_model
from tests.pruning import make_pruner, rows
from tests.reports.results import cells


KINDS = ("low", "high", "low") * 4
SIZES = {"search_samples": 9, "holdout_fraction": 1 / 3, "batch_size": 3, "guard": False}


def mixture():
    """Nine windows for the search and three that are held out, of low and of high tokens."""
    sequences = []
    for row, kind in zip(rows(len(KINDS), seed=3), KINDS):
        tokens = row["input_ids"] % 20 + (0 if kind == "low" else 40)
        labels = torch.cat([torch.tensor([-100]), tokens[1:]])
        sequences.append({"input_ids": tokens, "labels": labels})
    return TokenizedData(sequences, "low (8) + high (4)", KINDS)


def pruned(goal, folder=None, **options):
    pruner = make_pruner(goal=goal, **SIZES | options)
    pruner.prune(folder, rows(), mixture())
    return pruner


def scored_by_domain(pruner, windows):
    """Mean of each domain over some windows, by one pass for each domain alone."""
    whole, data = make_model("olmoe"), mixture()
    means = {}
    for domain in ("low", "high"):
        chosen = [data.sequences[place] for place in windows if KINDS[place] == domain]
        scorer = FitnessScorer(whole, [{name: each[name][None] for name in each} for each in chosen])
        with VirtualSlice(layers_of(whole), pruner.kept_experts):
            means[domain] = scorer.score().mean
    return means


def test_each_domain_gets_scores_and_an_interval(tmp_path):
    pruner = pruned("mean", tmp_path / "out")
    result = pruner.result
    assert result.goal == "mean" and set(result.domains) == {"low", "high"}
    for name, mean in scored_by_domain(pruner, range(9, 12)).items():
        assert result.domains[name]["best"] == pytest.approx(mean, abs=1e-6)
    low, high = result.domains["low"]["interval"]
    difference = result.domains["low"]["best"] - result.domains["low"]["uniform"]
    assert low - 1e-9 <= difference <= high + 1e-9
    assert result.domains["high"]["interval"] is None, "one window of it is held out"
    assert PruningResult.load(tmp_path / "out") == result
    card = (tmp_path / "out" / "README.md").read_text()
    shown = f"{result.domains['low']['best']:.4f}"
    assert cells(card, "Held-out sequences of") and cells(card, "low")[0] == shown
    assert cells(card, "high")[-1] == "no interval from one sequence"
    assert "held-out data of" in summarize(result, "out") and shown in summarize(result, "out")


def test_the_worst_domain_is_maximised_where_it_is_the_goal():
    """The search sees the same candidates first, and ends where the worse domain is better off."""
    by_mean, by_worst = (pruned(goal, generations=6) for goal in ("mean", "worst"))
    means, worst = (scored_by_domain(pruner, range(9)) for pruner in (by_mean, by_worst))
    assert min(worst.values()) > min(means.values())
    assert by_worst.scores["best"] < by_mean.scores["best"]
    assert by_worst.history[-1]["best"] == pytest.approx(min(worst.values()), abs=1e-6)
    assert by_worst.result.goal == "worst" and "in the worst domain" in summarize(by_worst.result, "out")


def test_the_scores_of_one_goal_serve_the_other(tmp_path, monkeypatch):
    """They are kept by window, so that a run that was killed goes on with another goal."""

    def killed(*given, **options):
        raise KeyboardInterrupt

    scored = []
    score = FitnessScorer.window_scores
    monkeypatch.setattr(FitnessScorer, "window_scores", lambda self, *given: scored.append(1) or score(self, *given))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("optimum_evoesap.search.find.compare_with_uniform", killed)
        pruned("mean", tmp_path / "out", generations=1)
    before, _ = len(scored), scored.clear()
    result = pruned("worst", tmp_path / "out", generations=1).result
    assert before > 5 and len(scored) <= 2, "the two on held-out windows alone"
    assert result == pruned("worst", generations=1).result


@pytest.mark.parametrize("allocation", ["uniform", [6, 0, 0]])
def test_an_allocation_that_is_not_searched_is_compared_by_domain_too(allocation):
    result = pruned("worst", allocation=allocation, search_samples=6, holdout_fraction=1.0).result
    assert set(result.domains) == {"low", "high"} and len(result.interval) == 2
    assert (result.interval == [0, 0]) == (allocation == "uniform")
    assert pruned("worst", allocation=allocation).result.interval is None, "one window of the high ones is held out"


def test_where_the_guard_acts_every_domain_tells_what_was_not_taken(tmp_path):
    sequences = [
        {"input_ids": each["input_ids"], "labels": each["input_ids"]} for each in rows(1, 7) * 4 + rows(4, 107)
    ]
    pruner = make_pruner(search_samples=4, holdout_fraction=1.0)
    pruner.prune(tmp_path / "out", rows(), TokenizedData(sequences, "given", ("a", "b") * 4))
    result = pruner.result
    assert result.is_guarded
    for each in result.domains.values():
        assert each["best"] == each["uniform"] != each["found"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert len(cells(card, "a")) == 4 and f"{result.domains['a']['found']:.4f}" in card


def test_the_worst_domain_of_data_that_are_of_one_is_an_error_before_the_work(monkeypatch):
    pruner = make_pruner(goal="worst")
    monkeypatch.setattr("optimum_evoesap.pruner.observe_experts", lambda *given: 1 / 0)
    with pytest.raises(DataError, match="goal='worst' needs data of several domains.*give a mixture"):
        pruner.prune(None, rows(), rows(seed=1))
    with pytest.raises(ValueError, match="goal='best' is not valid: choose one of mean, worst.$"):
        EvoESAPConfig(goal="best")


def test_a_domain_without_held_out_windows_is_named(caplog):
    data = mixture()
    data = TokenizedData(data.sequences, "given", ("low",) * 4 + ("rare",) + ("low", "high") * 3 + ("low",))
    with caplog.at_level(logging.WARNING):
        make_pruner(**SIZES).prune(None, rows(), data)
    assert "No held-out window is of rare" in caplog.text
