# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a search holds in memory, and one in which a candidate does not fit into it."""

from __future__ import annotations

import weakref

import pytest
import torch

from optimum_evoesap import EvoESAPConfig
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.run.state import RunState
from optimum_evoesap.search.find import SearchData, find_allocation
from optimum_evoesap.search.told_scores import ToldScores
from tests.model_matrix import layers_of, make_model, sparse_model_of
from tests.short_memory import batches_of, limit_memory


def test_the_search_goes_on_when_a_candidate_does_not_fit(tmp_path):
    """Candidates need more than the teacher here, so that the search has to leave the slice and teach again.

    A run that goes on later begins with the smaller batches, so that it finds the same scores as an unbroken one.
    """
    from optimum_evoesap.calibration.criteria import order_experts, score_experts
    from optimum_evoesap.search.planning import allocation_space

    model = make_model("olmoe")
    layers = layers_of(model)
    options = {"sparsity": 0.25, "allocation": "evolution", "population_size": 4, "num_elites": 1}
    config = EvoESAPConfig(**options, generations=2)
    statistics = observe_experts(sparse_model_of(model), batches_of(4, 4), progress=False)
    order = order_experts(score_experts(statistics, "reap"))
    space = allocation_space(config, layers)
    sparse_model = sparse_model_of(model)
    expected = find_allocation(sparse_model, order, space, config, SearchData(batches_of(4, 1)))
    router, num_experts = layers[0].blocks[0].router_tensors[0], layers[0].num_experts

    held: list[weakref.ref] = []

    def check(module, args, output):
        if router.value.shape[0] < num_experts and output.shape[0] > 1:
            held.append(weakref.ref(output))
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert not any(each() is not None for each in held), "what the failed candidate held is still in memory"

    model.get_input_embeddings().register_forward_hook(check)
    longer = EvoESAPConfig(**options, generations=3)
    with RunState(tmp_path) as state:
        told = ToldScores(state, "key")
        found = find_allocation(sparse_model, order, space, config, SearchData(batches_of(4, 4)), {"search": told})
        assert held, "no candidate failed"
        assert found.best == expected.best
        assert found.means == pytest.approx(expected.means, abs=1e-5)

        calls = limit_memory(model, 1)
        told = ToldScores(state, "key")
        assert told.batch_size == 1
        resumed = find_allocation(sparse_model, order, space, longer, SearchData(batches_of(4, 4)), {"search": told})
    assert calls and set(calls) == {1}
    assert resumed.history[: len(found.history)] == found.history


def test_the_teachers_of_the_search_are_gone_when_that_of_held_out_data_is_made(monkeypatch):
    """Those of search and calibration data live together in a search, since a strategy may ask for either."""
    from optimum_evoesap.fitness.scorer import FitnessScorer
    from tests.pruning import make_pruner, rows

    made, make = [], FitnessScorer.__init__

    def init(self, *given):
        alive = sum(any(each() is not None for each in teacher) for teacher in made)
        assert alive == len(made) < 2 or (alive == 0 and len(made) == 2)
        make(self, *given)
        made.append([weakref.ref(batch.hidden) for batch in self.teacher])

    monkeypatch.setattr(FitnessScorer, "__init__", init)
    make_pruner().prune(None, rows(), rows(seed=1))
    assert len(made) == 3 and all(made)
