# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The law that a candidate scores the same, bit for bit, where it starts from what others ran before, and whole."""

from __future__ import annotations

import pytest

from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.fitness.slices import SliceScorer
from tests.laws.helpers import WITHOUT_NEXT_TOKEN
from tests.model_matrix import MODEL_TYPES, make_model, random_kept, random_tokens, sparse_model_of


# Those whose first layer leaves something for the others beside hidden states: every candidate runs whole.
WHOLE = {"mistral_large4"}


def candidates_of(layers):
    """Some that differ in one layer alone, some that share layers with others, and some that share none."""
    one, other = random_kept(layers, 3), random_kept(layers, 7)
    alone = [{layer: kept[layer]} for layer in one for kept in (one, other)]
    mixed = [one | {layer: other[layer]} for layer in one]
    different = {repr(each): each for each in [*alone, *mixed, one, other, {}]}
    return list(different.values())


def score_all(sparse_model, batches, candidates, rows=None):
    scorer, found = SliceScorer(sparse_model, batches, rows_at_once=rows), {}
    scorer.score_each(candidates, found.update)
    return [found[number] for number in range(len(candidates))], scorer


@pytest.mark.parametrize("model_type", [name for name in MODEL_TYPES if name not in WITHOUT_NEXT_TOKEN])
def test_shared_is_whole(model_type):
    sparse_model = sparse_model_of(make_model(model_type))
    batches = [{"input_ids": tokens, "labels": tokens} for tokens in (random_tokens(2, 12), random_tokens(2, 12, 5))]
    candidates = candidates_of(sparse_model.layers)
    whole = FitnessScorer(sparse_model.model, batches)
    expected = [whole.score(lambda each=each: sparse_model.sliced(each)) for each in candidates]
    found, scorer = score_all(sparse_model, batches, candidates)
    assert found == expected
    starts = scorer.starts
    assert all(starts.values()) if model_type not in WHOLE else not all(starts.values())
    # Rows that share a batch are rounded otherwise.
    together, _ = score_all(sparse_model, batches, candidates, rows=8)
    for one, alone in zip(together, expected):
        assert one.mean == pytest.approx(alone.mean, abs=2e-5)
