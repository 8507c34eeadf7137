# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Candidates that share work: what it costs, and models in which they cannot."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.fitness.slices import SliceScorer
from optimum_evoesap.models.sparse_model import SparseModel
from tests.model_matrix import (
    DEVICE,
    make_config,
    make_model,
    random_kept,
    random_tokens,
    sparse_model_of,
    uniformly_kept,
)
from tests.model_matrix.rows import ROWS


def batches_of(count=2, windows=2, length=12):
    return [{"input_ids": each, "labels": each} for each in (random_tokens(windows, length, n) for n in range(count))]


def whole_scores(sparse_model, batches, candidates):
    scorer = FitnessScorer(sparse_model.model, batches)
    return [scorer.score(lambda each=each: sparse_model.sliced(each)) for each in candidates]


def shared_scores(sparse_model, batches, candidates, rows=None):
    scorer, found = SliceScorer(sparse_model, batches, rows_at_once=rows), {}
    scorer.score_each(candidates, found.update)
    return [found[number] for number in range(len(candidates))], scorer


def curves_of(sparse_model):
    return [
        {layer.index: uniformly_kept(layer, kept)}
        for layer in sparse_model.layers
        for kept in range(layer.min_kept, layer.num_experts, layer.num_groups)
    ]


def deep_model(num_layers):
    config = make_config("olmoe")
    config.num_hidden_layers, config.num_experts = num_layers, 12
    torch.manual_seed(0)
    return SparseModel(ROWS["olmoe"].load_class()(config).eval().to(DEVICE))


@pytest.mark.parametrize(("num_layers", "share"), [(8, 0.6), (16, 0.55)])
@pytest.mark.parametrize("rows", [None, 8])
def test_curves_cost_about_half_of_whole_passes(num_layers, share, rows):
    """Of n layers the mean is (n + 1) / 2n: a layer runs for those that change it or one before it.

    What is tried the first time, that passes may start at each layer, is counted too.
    """
    sparse_model = deep_model(num_layers)
    batches, candidates = batches_of(16, windows=1, length=8), curves_of(sparse_model)
    _, scorer = shared_scores(sparse_model, batches, candidates, rows)
    assert len(candidates) > 4 * num_layers and all(scorer.starts.values())
    assert scorer.evaluations <= share * len(candidates)


def test_a_model_that_cannot_start_at_a_layer_says_so_once(caplog):
    caplog.set_level(logging.WARNING, "optimum_evoesap")
    sparse_model = sparse_model_of(make_model("mistral_large4"))
    batches, candidates = batches_of(), curves_of(sparse_model)
    found, scorer = shared_scores(sparse_model, batches, candidates, rows=8)
    again = {}
    scorer.score_each(candidates, again.update)
    # Also where it is scored on other data, or by another criterion.
    shared_scores(sparse_model, batches[:1], candidates[:4])
    said = [
        record.message for record in caplog.records if "every candidate runs through all its layers" in record.message
    ]
    assert len(said) == 1 and type(sparse_model.model).__name__ in said[0]
    assert "a pass cannot start at layer" in said[0] and "KeyError" in said[0]
    assert found == whole_scores(sparse_model, batches, candidates) == [again[each] for each in range(len(candidates))]
    # The second time nothing is tried any more.
    before = scorer.evaluations
    scorer.score_each(candidates, lambda found: None)
    assert scorer.evaluations - before == pytest.approx(len(candidates))


class Failing(nn.Module):
    """A norm of the last layer that fails in passes which do not start at the first one."""

    def __init__(self, layers, error):
        super().__init__()
        self.norm, self.error = layers[-1].input_layernorm, error
        self.starts_later = lambda: "forward" in vars(layers[0])

    def forward(self, hidden):
        if self.starts_later():
            raise self.error
        return self.norm(hidden)


class OwnError(Exception):
    """One of a user's own code."""


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("full"), MemoryError(), OwnError("hook"), KeyboardInterrupt()]
)
def test_what_is_no_missing_input_ends_the_trial_as_it_is(error):
    sparse_model = sparse_model_of(make_model("olmoe"))
    layers = sparse_model.model.model.layers
    layers[-1].input_layernorm = Failing(layers, error)
    with pytest.raises(type(error)):
        SliceScorer(sparse_model, batches_of(1, windows=1)).score_each(curves_of(sparse_model), lambda found: None)


def test_a_layer_that_misses_something_is_told_with_the_reason(caplog):
    sparse_model, batches = sparse_model_of(make_model("olmoe")), batches_of(1, windows=1)
    layers = sparse_model.model.model.layers
    candidates = curves_of(sparse_model)
    expected = whole_scores(sparse_model, batches, candidates)
    layers[-1].input_layernorm = Failing(layers, RuntimeError("shapes 3 and 4 do not fit"))
    found, scorer = shared_scores(sparse_model, batches, candidates)
    assert found == expected and not all(scorer.starts.values())
    assert caplog.text.count("RuntimeError: shapes 3 and 4 do not fit") == 1


class MixedRows(nn.Module):
    """A norm after which each row of a batch knows of the others."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, hidden):
        hidden = self.norm(hidden)
        return hidden + hidden.mean(dim=0, keepdim=True) - hidden / 2


def test_candidates_share_no_batch_where_its_rows_are_not_independent(caplog):
    caplog.set_level(logging.INFO, "optimum_evoesap")
    sparse_model = sparse_model_of(make_model("olmoe"))
    last = sparse_model.model.model.layers[-1]
    last.input_layernorm = MixedRows(last.input_layernorm)
    batches, candidates = batches_of(3, windows=1), curves_of(sparse_model)
    found, scorer = shared_scores(sparse_model, batches, candidates, rows=4)
    assert found == whole_scores(sparse_model, batches, candidates)
    assert sum("not independent" in record.message for record in caplog.records) == 1
    assert all(scorer.starts.values()), "passes start at layers all the same"


def test_groups_fill_batches_and_no_more():
    sparse_model = sparse_model_of(make_model("olmoe"))
    calls = []
    last = sparse_model.model.model.layers[-1]
    last.register_forward_pre_hook(lambda module, args: calls.append(args[0].shape[0]))
    candidates = curves_of(sparse_model)
    shared_scores(sparse_model, batches_of(2, windows=2), candidates, rows=7)
    assert max(calls) == 6, "three candidates of two windows are the most that fit into 7 rows"
    assert 6 in calls


def test_the_same_candidate_twice_and_known_ones():
    sparse_model, batches = sparse_model_of(make_model("olmoe")), batches_of()
    one, other = random_kept(sparse_model.layers, 3), random_kept(sparse_model.layers, 7)
    last = sparse_model.indices[-1]
    candidates = [one, one | {last: other[last]}, one | {last: other[last]}, other]
    found, scorer = shared_scores(sparse_model, batches, candidates)
    assert found == whole_scores(sparse_model, batches, candidates)
    before = scorer.evaluations
    some = {}
    scorer.score_each(candidates, some.update, skip={0, 1, 2})
    assert some == {3: found[3]}
    # The trunk that all have in common is empty here.
    assert scorer.evaluations - before == pytest.approx(1)
