# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The order of a run, and `criterion="auto"`: the best at the budget of the criteria that are built in."""

from __future__ import annotations

import itertools
import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap import EvoESAPConfig, register_criterion, register_measured_criterion
from optimum_evoesap.calibration.criterion_names import AUTO_CRITERIA, CRITERIA, MEASURED_CRITERIA
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.fitness.slices import SliceScorer
from optimum_evoesap.reports.ranking import Ranking
from optimum_evoesap.reports.summary import summarize
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.candidate import Candidate
from optimum_evoesap.search.order import RankedExperts, least_loss
from tests.pruning import make_pruner, rows
from tests.run.broken_off import break_off, count_scored, finish


SIZES = {"criterion_samples": 4, "guard": False}


def ranked(criterion="auto", model_type="olmoe", **options):
    pruner = make_pruner(model_type, criterion=criterion, **SIZES | options)
    pruner.calibrate(rows())
    pruner.rank()
    return pruner


def slow_score(pruner, allocations):
    """The best of some allocations by a pruner's order, run whole on the windows of the criteria."""
    scorer = FitnessScorer(pruner.model, list(pruner._inputs.batches(pruner._inputs.criterion_data())))
    found = []
    for counts in allocations:
        kept = dict(Candidate.from_order(pruner.order, dict(zip(pruner.sparse_layers, counts))))
        found.append(scorer.score(lambda kept=kept: pruner.sparse_model.sliced(kept)).mean)
    return max(found)


def test_those_that_are_compared_are_those_that_are_built_in():
    built_in = [
        name
        for name, function in (CRITERIA | MEASURED_CRITERIA).items()
        if function.__module__.startswith("optimum_evoesap.")
    ]
    assert sorted(AUTO_CRITERIA) == sorted(built_in)


@pytest.mark.parametrize("model_type", ["olmoe", "deepseek_v3"])
@pytest.mark.parametrize("allocation", ["guided", "uniform", "given"])
def test_each_scores_what_a_slow_recomputation_says_and_the_best_is_taken(model_type, allocation, caplog):
    caplog.set_level(logging.INFO, "optimum_evoesap.search.order")
    given = [4, 0, 0] if model_type == "olmoe" else [6, 0]
    options = {"allocation": given if allocation == "given" else allocation}
    auto = ranked(model_type=model_type, **options)
    expected = {}
    for name in AUTO_CRITERIA:
        alone = ranked(name, model_type, **options)
        tried = [given] if allocation == "given" else [alone.space.uniform()]
        if allocation == "guided":
            tried.append(least_loss(alone._ranked, alone.space))
        expected[name] = slow_score(alone, tried)
    compared = auto._ranked.compared
    assert compared == pytest.approx(expected, abs=1e-6) and list(compared) == list(AUTO_CRITERIA)
    best = max(compared, key=compared.__getitem__)
    assert auto._ranked.criterion == best and auto.order == ranked(best, model_type, **options).order
    assert len(set(compared.values())) > 2, "criteria differ in this model"
    assert f"criterion='auto' takes {best}; esap by criterion: {best} {compared[best]:.4f}, " in caplog.text


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_allocation_of_a_criterion_removes_the_lowest_scores_in_all(data):
    unit = data.draw(st.sampled_from([1, 2]))
    totals = [unit * data.draw(st.integers(2, 4)) for _ in range(data.draw(st.integers(1, 3)))]
    budget = unit * data.draw(st.integers(1, sum(total // unit - 1 for total in totals)))
    space = AllocationSpace.from_limits(totals, [unit] * len(totals), budget, unit)
    numbers = st.floats(-1, 1, allow_nan=False, width=32)
    scores = {
        layer: torch.tensor(data.draw(st.lists(numbers, min_size=total, max_size=total)), dtype=torch.float64)
        for layer, total in enumerate(totals)
    }
    order = {layer: each.argsort().tolist() for layer, each in scores.items()}

    def loss(counts):
        return sum(float(scores[layer][order[layer][:count]].sum()) for layer, count in enumerate(counts))

    allowed = [
        counts
        for counts in itertools.product(*(range(0, most + 1, unit) for most in space.max_removed))
        if sum(counts) == budget
    ]
    found = least_loss(RankedExperts("own", scores, order), space)
    assert found in allowed and loss(found) == pytest.approx(min(map(loss, allowed)), abs=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"keep": {0: [1, 5], 2: [0]}},
        {"protect_super_experts": True},
        {"uniform_counts": True, "allocation": "guided"},
        {"min_experts": 4, "sparsity": 0.25},
        {"fitness": "kl"},
    ],
)
def test_it_goes_with_the_other_options(options):
    auto = ranked(**options)
    compared = auto._ranked.compared
    assert auto.order == ranked(auto._ranked.criterion, **options).order
    assert compared[auto._ranked.criterion] == max(compared.values())
    for layer, experts in options.get("keep", {}).items():
        assert sorted(auto.order[layer][-len(experts) :]) == experts
    if "uniform_counts" in options:
        alone = ranked(auto._ranked.criterion, **options)
        assert compared[auto._ranked.criterion] == pytest.approx(slow_score(alone, [alone.space.uniform()]), abs=1e-6)


def test_a_size_in_place_of_a_sparsity():
    by_share = ranked(sparsity=0.5)
    from optimum_evoesap.models.size import checkpoint_size, removable_sizes

    removed = 4 * sum(removable_sizes(by_share.model, by_share.layers))
    by_size = ranked(sparsity=None, target_size=checkpoint_size(by_share.model) - removed)
    assert by_size.space.budget == by_share.space.budget and by_size._ranked.compared == by_share._ranked.compared


def test_record_ranking_card_and_summary_say_which_one_was_taken(tmp_path):
    pruner = make_pruner(criterion="auto", **SIZES)
    pruner.prune(tmp_path, rows(), rows(seed=1))
    result, taken = pruner.result, pruner._ranked.criterion
    assert result.criterion == taken and result.criterion_scores == pruner._ranked.compared
    assert Ranking.from_pretrained(tmp_path).criterion == taken
    assert Ranking.from_pretrained(tmp_path).order == pruner.order
    assert EvoESAPConfig.from_pretrained(tmp_path).criterion == "auto"
    card, summary = (tmp_path / "README.md").read_text(), summarize(result, tmp_path)
    assert f"the criterion `{taken}` decides which experts go first (of 9 criteria it scores best" in card
    assert f"the criterion {taken} was taken" in summary and f"{taken}, the best of 9" in repr(result)
    for name, score in result.criterion_scores.items():
        assert f"| {f'`{name}`' + (', taken' if name == taken else '')} | {score:.4f} |" in card
        assert any(line.split() == [name, f"{score:.4f}"] for line in summary.splitlines())
    named = make_pruner(criterion=taken, **SIZES)
    named.prune(tmp_path / "named", rows(), rows(seed=1))
    assert named.result.kept_experts == result.kept_experts and named.result.criterion_scores == {}
    assert "## Criteria" not in (tmp_path / "named" / "README.md").read_text()


def test_where_there_are_no_search_data_the_scores_of_criteria_have_a_name(tmp_path):
    pruner = make_pruner(criterion="auto", allocation="uniform", **SIZES)
    pruner.prune(tmp_path, rows())
    assert pruner.result.fitness == "esap" and pruner.result.scores == {}
    assert "reaches this value of ESAP" in (tmp_path / "README.md").read_text()


def test_what_was_measured_and_scored_is_kept(tmp_path, monkeypatch):
    options = {"criterion": "auto", **SIZES}
    first = break_off(tmp_path / "out", **options)
    pieces = [path.name for path in (tmp_path / "out" / ".evoesap").iterdir()]
    for kind in ("ranking-esap", "ranking-reconstruction", "choice", "search"):
        assert any(name.startswith(kind) for name in pieces)
    scored = count_scored(monkeypatch)
    result = finish(tmp_path / "out", **options)
    assert sum(scored) == 0, "what is compared on held-out windows too"
    assert result.criterion_scores == first._ranked.compared


def test_another_budget_is_another_choice_without_measuring_again(tmp_path, monkeypatch):
    """With a ranking of the criterion `esap`, loaded, what it measured stands for that criterion."""
    make_pruner(criterion="esap", **SIZES).prune(tmp_path / "out", rows(), rows(seed=1))
    expected = ranked(sparsity=0.25)
    monkeypatch.setitem(MEASURED_CRITERIA, "esap", lambda *_: pytest.fail("it is known"))
    again = make_pruner(criterion="auto", sparsity=0.25, **SIZES)
    again._inputs.get("calibration", rows())
    data = again._inputs.prepared["calibration"]
    monkeypatch.setattr(again._inputs, "get", lambda *_: data)
    again.load_ranking(tmp_path / "out")
    assert again._ranked.compared == expected._ranked.compared and again.order == expected.order


def test_equal_orders_are_scored_once(monkeypatch):
    groups = []
    score_each = SliceScorer.score_each

    def counted(self, candidates, *given, **options):
        groups.append(list(candidates))
        score_each(self, candidates, *given, **options)

    monkeypatch.setattr(SliceScorer, "score_each", counted)
    ranked(allocation="uniform")
    chosen = groups[-1]
    assert len(set(chosen)) == len(chosen) <= len(AUTO_CRITERIA)


@pytest.mark.parametrize("register", [register_criterion, register_measured_criterion])
def test_the_name_is_taken(register):
    with pytest.raises(ValueError, match="criterion='auto' has a meaning of its own"):
        register("auto")
