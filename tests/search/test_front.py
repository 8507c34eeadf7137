# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The front: what it asks for, and that its points share everything that does not depend on the sparsity."""

from __future__ import annotations

import numpy as np
import pytest

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.search.front import front_configs, front_spaces
from optimum_evoesap.search.told_scores import ToldScores
from tests.model_matrix import make_model
from tests.pruning import make_pruner, rows


GUIDED = {"allocation": "guided", "criterion": "esap", "search_samples": 16}
SPARSITIES = [0.25, 0.5, 0.6]


def search_rows():
    return rows(24, seed=1)


def test_sparsities_are_sorted_and_none_comes_twice():
    configs = front_configs(EvoESAPConfig(), [0.5, np.float64(0.25), 0.1 + 0.2, 0.3, np.float32(0.5)])
    assert list(configs) == [0.25, 0.3, 0.5]
    assert [config.sparsity for config in configs.values()] == [0.25, 0.3, 0.5]


@pytest.mark.parametrize("given", [[], 0.5, "0.5", [0.5, 1.5], [0], [True], ["0.5"], None])
def test_what_is_no_list_of_shares_is_refused(given):
    with pytest.raises(ValueError, match="0.25, 0.5"):
        front_configs(EvoESAPConfig(), given)


@pytest.mark.parametrize("options", [{"allocation": [1, 2, 3]}, {"target_size": "24GB"}])
def test_a_configuration_that_says_how_much_goes_is_refused(options):
    with pytest.raises(ValueError, match="leave it out"):
        front_configs(EvoESAPConfig(**options), [0.5])


def test_a_sparsity_that_cannot_be_reached_is_refused_before_the_work():
    pruner = make_pruner()
    with pytest.raises(ValueError, match=r"sparsity=0.9 .* largest possible sparsity"):
        pruner.front([0.5, 0.9], rows(), search_rows())
    assert pruner.statistics is None


def test_uniform_counts_allow_one_allocation_at_each_sparsity():
    pruner = make_pruner(uniform_counts=True)
    spaces = front_spaces(front_configs(pruner.config, [0.25, 0.5]), pruner.layers)
    assert [space.max_removed for space in spaces.values()] == [(2, 2, 2), (4, 4, 4)]
    assert all(space.is_single for space in spaces.values())


class _Log:
    """Windows of candidates that were really scored, and the teachers that were made."""

    def __init__(self, monkeypatch):
        self.scored, self.teachers = [], 0
        add, make = ToldScores.add, FitnessScorer.__init__

        def added(told, candidate, scores, first=0):
            self.scored += [(told._name, candidate, window) for window in range(first, first + len(scores))]
            add(told, candidate, scores, first)

        def made(scorer, *given, **named):
            self.teachers += 1
            make(scorer, *given, **named)

        monkeypatch.setattr(ToldScores, "add", added)
        monkeypatch.setattr(FitnessScorer, "__init__", made)

    def take(self):
        scored, self.scored = self.scored, []
        teachers, self.teachers = self.teachers, 0
        return scored, teachers


def _is_of_curves(candidate):
    """Whether only one layer, or none, loses experts."""
    return sum(len(kept) < 8 for kept in candidate.values()) < 2


def test_points_share_curves_and_teachers(monkeypatch):
    log = _Log(monkeypatch)
    front = make_pruner(**GUIDED).front(SPARSITIES, rows(), search_rows())
    scored, teachers = log.take()
    assert len(set(scored)) == len(scored), "something was scored twice"
    assert teachers == 4, "one each for the order, the search, the order measured again, and what is held out"

    apart, made = [], 0
    for sparsity in SPARSITIES:
        pruner = make_pruner(**GUIDED | {"sparsity": sparsity})
        pruner.prune(None, rows(), search_rows())
        assert pruner.result.kept_experts == front[sparsity].kept_experts
        assert pruner.result.scores == pytest.approx(front[sparsity].scores, abs=1e-6)
        assert pruner.result.interval == pytest.approx(front[sparsity].interval, abs=1e-6)
        each, teachers = log.take()
        apart, made = apart + each, made + teachers
    assert made == 4 * len(SPARSITIES)
    assert set(scored) == set(apart), "the front scores what the runs score, each once"
    curves = {each for each in scored if _is_of_curves(each[1])}
    assert curves and len(apart) - len(scored) >= (len(SPARSITIES) - 1) * len(curves)


def test_sparsities_of_one_budget_are_searched_once(monkeypatch):
    log = _Log(monkeypatch)
    make_pruner().front([0.5], rows(), search_rows())
    alone = log.take()
    front = make_pruner().front([0.5, 0.51], rows(), search_rows())
    assert log.take() == alone
    assert list(front) == [0.5, 0.51] and front[0.5] == front[0.51]


def test_a_warning_says_at_which_sparsity_uniform_is_as_good(caplog):
    front = make_pruner(**GUIDED).front([0.25, 0.5], rows(), search_rows())
    guarded = [sparsity for sparsity, result in front.items() if result.is_guarded]
    said = [record.message for record in caplog.records if "does not beat" in record.message]
    assert guarded and len(said) == len(guarded)
    assert all(f"found at sparsity {sparsity:g} does" in each for sparsity, each in zip(guarded, said))


def test_limits_hold_for_each_sparsity():
    front = make_pruner(max_evaluations=4).front([0.25, 0.5], rows(), search_rows())
    assert [result.stopped_because for result in front.values()] == ["max_evaluations=4 are used up"] * 2


def test_a_front_of_uniform_allocations_is_scored():
    front = make_pruner(allocation="uniform").front([0.25, 0.5], rows(), search_rows())
    assert [result.allocation for result in front.values()] == [[2, 2, 2], [4, 4, 4]]
    assert all({"best", "holdout_best"} <= result.scores.keys() for result in front.values())
    assert all(result.not_compared_because == "it is the uniform allocation" for result in front.values())


def test_experts_that_stay_stay_at_every_sparsity():
    front = make_pruner(keep={0: [1, 2], 2: [5]}).front([0.25, 0.5], rows(), search_rows())
    for result in front.values():
        assert {1, 2} <= set(result.kept_experts[0]) and 5 in result.kept_experts[2]
        assert result.protected_experts == {0: [1, 2], 2: [5]}


def test_what_was_ranked_is_not_ranked_again(monkeypatch):
    pruner = make_pruner()
    pruner.calibrate(rows())
    order = pruner.rank()
    monkeypatch.setattr(MoEPruner, "calibrate", None)
    monkeypatch.setattr(MoEPruner, "rank", None)
    pruner.front([0.5], search_data=search_rows())
    assert pruner.order is order


def test_the_model_stays_whole_and_any_point_is_applied():
    pruner = make_pruner()
    whole = {name: tensor.clone() for name, tensor in pruner.model.state_dict().items()}
    front = pruner.front([0.25, 0.5], rows(), search_rows())
    assert all(tensor.equal(whole[name]) for name, tensor in pruner.model.state_dict().items())
    pruner.apply(front[0.25])
    assert pruner.kept_experts == front[0.25].kept_experts
    with pytest.raises(ValueError, match="pruned already"):
        pruner.front([0.5])


def test_a_loaded_model_needs_no_sparsity_of_its_own():
    """Half of the experts are the most that top-k allows here, which the default of the configuration is under."""
    pruner = MoEPruner(make_model("olmoe"), EvoESAPConfig(criterion="reap", sequence_length=16, search_samples=4))
    assert list(pruner.front([0.125, 0.5], rows(), search_rows())) == [0.125, 0.5]


def test_a_model_that_cannot_be_trained_is_refused_before_the_calibration():
    pruner = make_pruner("listed_moe", allocation="gradient")
    with pytest.raises(ValueError, match="Choose a strategy that trains no keep logits"):
        pruner.front([0.25, 0.5], rows(), search_rows())
    assert pruner.statistics is None
