# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A strategy of the user's own, from its registration to the checkpoint."""

from __future__ import annotations

import random

import pytest

from optimum_evoesap import EvoESAPConfig, register_strategy
from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.registry import STRATEGIES
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.candidate import Candidate
from optimum_evoesap.search.loop import run_search
from optimum_evoesap.search.strategies import Strategy
from optimum_evoesap.search.told_scores import ToldScores
from tests.pruning import make_pruner, rows
from tests.search.searches import Scorer, boards_of


class RandomSearch(Strategy):
    """The uniform allocation, then five random ones."""

    def __init__(self, space, order, options):
        super().__init__(space, order, options)
        generator = random.Random(options.seed)
        allocations = [space.uniform(), *(space.random(generator) for _ in range(5))]
        self.left = list(dict.fromkeys(map(self.candidate, allocations)))
        self.scores = {}

    num_candidates = 6

    def ask(self):
        return self.left[:1]

    def tell(self, candidate, scores):
        self.scores[candidate] = scores.mean
        self.left.remove(candidate)
        self.history.append({"generation": len(self.history), "best": max(self.scores.values())})

    @property
    def best(self):
        return max(self.scores, key=self.scores.get)


@pytest.fixture
def random_search():
    register_strategy("random_search")(RandomSearch)
    yield
    del STRATEGIES["random_search"]


def test_a_strategy_of_ones_own_is_one_class(random_search, tmp_path):
    results = []
    for folder in ("first", "second"):
        pruner = make_pruner(allocation="random_search")
        pruner.prune(tmp_path / folder, rows(), rows(seed=1))
        results.append(pruner.result)
        assert sum(pruner.allocation) == pruner.space.budget
        assert pruner.scores["best"] == pruner.history[-1]["best"] >= pruner.scores["uniform"]
    assert results[0] == results[1]
    assert EvoESAPConfig.from_pretrained(tmp_path / "first").allocation == "random_search"
    assert "the strategy `random_search`" in (tmp_path / "first" / "README.md").read_text()


def test_a_name_that_nobody_registered_is_refused():
    with pytest.raises(ValueError, match="'random_search' is not valid: choose guided, evolution, gradient"):
        EvoESAPConfig(allocation="random_search")


def test_what_is_no_strategy_is_refused():
    with pytest.raises(TypeError, match="subclass of Strategy"):
        register_strategy("not_one")(lambda space, order, options: None)
    with pytest.raises(ValueError, match="is not searched"):
        register_strategy("uniform")(RandomSearch)
    assert "not_one" not in STRATEGIES


class OneCandidate(RandomSearch):
    """Asks for one candidate only, and never for the uniform one."""

    candidate_asked = Candidate(((0, (0, 1)), (1, (0, 1, 2, 3)), (4, (0, 1, 2, 3, 4, 5))))

    def __init__(self, space, order, options):
        super().__init__(space, order, options)
        self.left = [self.candidate_asked]


def search_with(strategy_class):
    space = AllocationSpace.from_limits([8, 8, 8], [2, 2, 2], 12, layers=[0, 1, 4])
    strategy = strategy_class(space, {layer: list(range(8)) for layer in space.layers}, EvoESAPOptions())
    told, scorer = ToldScores(), Scorer(space, lambda candidate: len(candidate[0]), of_candidate=True)
    run_search(strategy, boards_of(scorer, told), progress=False)
    return strategy, told


def test_the_uniform_allocation_is_scored_also_where_a_strategy_does_not_ask_for_it():
    strategy, told = search_with(OneCandidate)
    assert told[strategy.uniform].mean == 4.0 and told[strategy.best].mean == 2.0


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (((0, (0, 1)), (1, (0, 1, 2, 3)), (4, (0, 1, 2, 3, 4))), "removes 13 experts, the budget is 12"),
        (((1, (0, 1, 2, 3)), (0, (0, 1)), (4, (0, 1, 2, 3, 4, 5))), r"layers \(1, 0, 4\); the sparse layers are"),
        (((0, (0, 1)),), r"layers \(0,\); the sparse layers are"),
        (((0, (0,)), (1, (0, 1, 2, 3, 4)), (4, (0, 1, 2, 3, 4, 5))), "between 0 and 6 can go"),
        (((0, (0, 0)), (1, (0, 1, 2, 3)), (4, (0, 1, 2, 3, 4, 5))), r"experts \(0, 0\) of layer 0"),
        (((0, (0, 8)), (1, (0, 1, 2, 3)), (4, (0, 1, 2, 3, 4, 5))), "has those from 0 to 7"),
    ],
)
def test_a_wrong_candidate_is_refused_with_the_name_of_the_strategy(layers, message):
    wrong = type("Wrong", (OneCandidate,), {"candidate_asked": Candidate(layers)})
    with pytest.raises(ValueError, match=f"strategy Wrong asks for a wrong candidate: .*{message}"):
        search_with(wrong)


def test_a_candidate_has_one_form():
    one = Candidate([[0, [3, 1]], [4, [2]]])
    assert one == Candidate(((0, (1, 3)), (4, (2,)))) and hash(one) == hash(Candidate(((0, (1, 3)), (4, (2,)))))
    assert Candidate.from_json(one.to_json()) == one and dict(one) == {0: (1, 3), 4: (2,)}
