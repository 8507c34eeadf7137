# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A strategy of the user's own, from its registration to the checkpoint."""

from __future__ import annotations

import random

import pytest

from optimum_evoesap import EvoESAPConfig, register_strategy
from optimum_evoesap.registry import STRATEGIES
from optimum_evoesap.search.strategies import Strategy
from tests.pruning import make_pruner, rows


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
    with pytest.raises(ValueError, match="allocation='random_search' is not valid: choose evolution, uniform or a"):
        EvoESAPConfig(allocation="random_search")
