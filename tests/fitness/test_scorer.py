# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The scorer against whole logits: what is scored, with which mask, and what is refused."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.adapters import find_moe_layers
from optimum_evoesap.fitness import scorer as scorer_module
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.fitness.helpers import batches_of, slow_esap
from tests.model_matrix import DEVICE, make_model, random_kept, random_tokens


@pytest.mark.parametrize("model_type", ["olmoe", "cohere2_moe", "gemma4"])
def test_scorer_is_esap_of_whole_logits_with_the_mask_shifted(model_type, monkeypatch):
    monkeypatch.setattr(
        scorer_module, "_BLOCK_BYTES", scorer_module._BYTES_PER_LOGIT * 96 * 5
    )  # several blocks of five positions
    model = make_model(model_type)
    layers = find_moe_layers(model)
    tokens = random_tokens(2, 16)
    labels = tokens.clone()
    labels[0, :6] = -100  # a prompt of six tokens
    labels[1, 9:] = -100
    scorer = FitnessScorer(model, batches_of(tokens, labels))
    with torch.no_grad(), VirtualSlice(layers, random_kept(layers, 3)):
        value = scorer.score().mean
        student = model(input_ids=tokens).logits
    with torch.no_grad():
        teacher = model(tokens).logits
    # The first answer token is token 6, which position 5 predicts; the last position predicts nothing.
    positions = [(0, t) for t in range(5, 15)] + [(1, t) for t in range(0, 8)]
    picked = tuple(torch.tensor(positions).T)
    assert scorer.num_positions == len(positions)
    assert value < 0.99
    assert value == pytest.approx(slow_esap(teacher[picked], student[picked]), abs=1e-5)


def test_padding_is_not_scored():
    model = make_model("olmoe")
    layers = find_moe_layers(model)
    kept = random_kept(layers, 3)
    tokens = random_tokens(1, 12)
    padded = torch.nn.functional.pad(tokens, (0, 4))
    labels = padded.clone()
    labels[:, 12:] = -100
    mask = (torch.arange(16) < 12).long()[None].to(DEVICE)
    values = []
    for batches in (batches_of(tokens), batches_of(padded, labels, attention_mask=mask)):
        scorer = FitnessScorer(model, batches)
        with VirtualSlice(layers, kept):
            values.append(scorer.score().mean)
    assert values[0] == pytest.approx(values[1], abs=1e-5)


def test_packed_documents_are_scored_as_if_each_were_alone():
    model = make_model("olmoe")
    kept = random_kept(find_moe_layers(model), 3)
    first, second = random_tokens(1, 7), random_tokens(1, 12, seed=1)
    labels = torch.cat([first, second], dim=1)
    labels[0, [0, 7]] = -100
    positions = torch.cat([torch.arange(7), torch.arange(12)])[None].to(DEVICE)
    scorers = [
        FitnessScorer(model, batches_of(torch.cat([first, second], dim=1), labels, position_ids=positions)),
        FitnessScorer(model, batches_of(first)),
        FitnessScorer(model, batches_of(second)),
    ]
    with VirtualSlice(find_moe_layers(model), kept):
        packed, *alone = (scorer.score().mean for scorer in scorers)
    assert packed == pytest.approx((6 * alone[0] + 11 * alone[1]) / 17, abs=1e-5)


def test_likelihood_is_that_of_the_next_tokens():
    model = make_model("olmoe")
    tokens = random_tokens(2, 16)
    with torch.no_grad():
        logits = model(tokens).logits[:, :-1].flatten(0, 1)
    expected = -torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten()).item()
    assert FitnessScorer(model, batches_of(tokens), "nll").score().mean == pytest.approx(expected, abs=1e-5)


def test_draws_follow_the_seed_and_are_the_same_for_every_candidate():
    model = make_model("olmoe")
    scorers = [
        FitnessScorer(model, batches_of(random_tokens(4, 16)), "sampled_acceptance", seed) for seed in (1, 1, 2)
    ]
    with VirtualSlice(find_moe_layers(model), random_kept(find_moe_layers(model), 3)):
        one, same, other = (scorer.score() for scorer in scorers)
        assert scorers[0].score() == one == same != other


def test_data_without_scored_tokens_and_nan_logits_are_refused():
    model = make_model("olmoe")
    tokens = random_tokens(1, 8)
    with pytest.raises(ValueError, match="No token"):
        FitnessScorer(model, batches_of(tokens, torch.full_like(tokens, -100)))
    model.lm_head.weight.data[3] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite logits"):
        FitnessScorer(model, batches_of(tokens))


def test_a_candidate_that_overflows_is_refused():
    model = make_model("olmoe")
    scorer = FitnessScorer(model, batches_of(random_tokens(1, 9)))
    model.model.norm.weight.data[0] = float("inf")
    with pytest.raises(ValueError, match="fitness 'esap' of a candidate is nan"):
        scorer.score()


@pytest.mark.parametrize("fitness", ["esap", "kl"])
def test_sums_and_counts_are_those_of_their_window(fitness):
    model = make_model("olmoe")
    tokens = random_tokens(5, 16)
    labels = tokens.clone()
    for window in range(5):
        labels[window, : 3 * window] = -100
    kept = random_kept(find_moe_layers(model), 3)
    together = [{"input_ids": tokens[part], "labels": labels[part]} for part in (slice(0, 2), slice(2, 5))]
    scorer = FitnessScorer(model, together, fitness)
    alone = [FitnessScorer(model, batches_of(tokens[i : i + 1], labels[i : i + 1]), fitness) for i in range(5)]
    with VirtualSlice(find_moe_layers(model), kept):
        scores = scorer.score()
        each = [one.score() for one in alone]
    assert scores.counts == (15, 13, 10, 7, 4) == tuple(one.counts[0] for one in each)
    assert scores.sums == pytest.approx([one.sums[0] for one in each], abs=1e-4)
    assert len({round(one.mean, 4) for one in each}) == 5, "windows must differ for this to be seen"
