# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The strategy that the documentation shows."""

from __future__ import annotations

import pytest

from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.registry import STRATEGIES
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.loop import run_search
from tests.pruning import make_pruner, rows
from tests.search.searches import Scorer, boards_of


@pytest.fixture
def greedy(monkeypatch):
    from examples.own_strategy import Greedy

    assert STRATEGIES.pop("greedy", Greedy) is Greedy
    monkeypatch.setitem(STRATEGIES, "greedy", Greedy)
    return Greedy


def test_a_strategy_of_ones_own_prunes(greedy, tmp_path):
    results = []
    for folder in ("one", "two"):
        pruner = make_pruner(allocation="greedy", guard=False)
        pruner.prune(tmp_path / folder, rows(), rows(seed=1))
        results.append(pruner.result)
    assert results[0] == results[1] and sum(pruner.allocation) == pruner.space.budget
    assert pruner.scores["best"] == pruner.history[-1]["best"] >= pruner.scores["uniform"]
    assert "the strategy `greedy`" in (tmp_path / "one" / "README.md").read_text()


def test_it_takes_experts_where_they_cost_least(greedy):
    """What each expert of a layer costs is told by the curves; the last layer's are the cheapest, then the first's."""
    space = AllocationSpace.from_limits([8] * 3, [2] * 3, 9)
    strategy = greedy(space, {layer: list(range(8)) for layer in space.layers}, EvoESAPOptions())
    scorer = Scorer(space, lambda counts: -(2.0 * counts[0] + 5.0 * counts[1] + counts[2]), 20)
    end = run_search(strategy, boards_of(scorer), progress=False)
    assert end.best.removed(space.num_experts) == [3, 0, 6]
