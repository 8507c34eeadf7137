# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""ESAP and its ablations against float64 formulas, and the scorer against whole logits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap import esap, linear_esap
from optimum_evoesap.adapters import find_moe_layers
from optimum_evoesap.fitness import FITNESSES, ScoredBlock, register_fitness
from optimum_evoesap.fitness import scorer as scorer_module
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.models.output_head import find_output_head
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.model_matrix import make_model, random_kept, random_tokens


def slow_esap(teacher: torch.Tensor, student: torch.Tensor) -> float:
    """The definition, in float64, a position at a time."""
    total = 0.0
    for p, q in zip(teacher.double(), student.double()):
        total += torch.minimum(p.softmax(0), q.softmax(0)).sum().item()
    return total / len(teacher)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(2, 300), st.floats(0.01, 30.0), st.integers(0, 10**6))
def test_esap_is_its_definition(positions, vocabulary, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    teacher, student = (torch.randn(positions, vocabulary, generator=generator) * scale for _ in range(2))
    value = esap(teacher, student).item()
    assert value == pytest.approx(slow_esap(teacher, student), abs=2e-6)
    assert 0.0 <= value <= 1.0 + 1e-6
    assert value == pytest.approx(esap(student, teacher).item(), abs=1e-6)
    assert esap(teacher, teacher).item() == pytest.approx(1.0, abs=1e-6)


def test_esap_is_one_minus_total_variation():
    teacher, student = torch.randn(5, 40), torch.randn(5, 40)
    distance = 0.5 * (teacher.softmax(-1) - student.softmax(-1)).abs().sum(-1).mean()
    assert esap(teacher, student).item() == pytest.approx(1 - distance.item(), abs=1e-6)


def test_esap_of_bfloat16_logits_is_computed_in_float32():
    teacher, student = torch.randn(64, 5000).bfloat16(), torch.randn(64, 5000).bfloat16()
    assert esap(teacher, student).dtype == torch.float32
    assert esap(teacher, student).item() == pytest.approx(slow_esap(teacher, student), abs=1e-6)


def test_esap_mask_and_errors():
    teacher, student = torch.randn(2, 3, 7), torch.randn(2, 3, 7)
    mask = torch.tensor([[1, 0, 1], [0, 0, 1]])
    assert esap(teacher, student, mask).item() == pytest.approx(
        slow_esap(teacher[mask.bool()], student[mask.bool()]), abs=1e-6
    )
    with pytest.raises(ValueError, match="same shape"):
        esap(teacher, student[:1])
    with pytest.raises(ValueError, match="must have the shape"):
        esap(teacher, student, mask[:1])
    with pytest.raises(ValueError, match="No position"):
        esap(teacher, student, torch.zeros(2, 3))


@pytest.mark.parametrize("soft_cap,scale", [(None, 1.0), (5.0, 1.0), (None, 0.25)])
def test_linear_esap_is_esap_of_its_logits(soft_cap, scale):
    teacher, student = torch.randn(50, 16), torch.randn(50, 16)
    weight, bias = torch.randn(200, 16), torch.randn(200)

    def logits(hidden):
        raw = (hidden @ weight.T + bias) * scale
        return raw if soft_cap is None else soft_cap * torch.tanh(raw / soft_cap)

    expected = slow_esap(logits(teacher), logits(student))
    options = {"soft_cap": soft_cap, "logit_scale": scale, "chunk_size": 7}
    assert linear_esap(teacher, student, weight, bias, **options).item() == pytest.approx(expected, abs=2e-6)
    known = logits(teacher).logsumexp(-1)
    found = linear_esap(teacher, student, weight, bias, teacher_log_sum_exp=known, **options)
    assert found.item() == pytest.approx(expected, abs=2e-6)


def a_block(positions=400, vocabulary=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    teacher, student = (torch.randn(positions, vocabulary, generator=generator) * 2 for _ in range(2))
    targets = torch.randint(0, vocabulary, (positions,), generator=generator)
    return ScoredBlock(teacher, student, targets, torch.rand(positions, generator=generator))


def test_ablations_are_their_definitions():
    block = a_block()
    p, q = block.teacher_logits.double().softmax(-1), block.student_logits.double().softmax(-1)
    expected = {
        "kl": -(p * (p / q).log()).sum(-1),
        "reverse_kl": -(q * (q / p).log()).sum(-1),
        "nll": q[torch.arange(len(q)), block.targets].log(),
        "esap": torch.minimum(p, q).sum(-1),
    }
    for name, values in expected.items():
        torch.testing.assert_close(FITNESSES[name](block).double(), values, rtol=1e-4, atol=1e-5)


def test_sampled_acceptance_estimates_esap():
    blocks = [a_block(4000, seed=seed) for seed in range(5)]
    sampled = torch.cat([FITNESSES["sampled_acceptance"](block) for block in blocks])
    exact = torch.cat([FITNESSES["esap"](block) for block in blocks])
    assert sampled.min() >= 0 and sampled.max() <= 1
    # Standard error of 20000 draws is under 0.003.
    assert sampled.mean().item() == pytest.approx(exact.mean().item(), abs=0.01)
    assert torch.equal(sampled[:4000], FITNESSES["sampled_acceptance"](blocks[0]))


def batches_of(tokens, labels=None, **more):
    return [{"input_ids": tokens, "labels": tokens.clone() if labels is None else labels, **more}]


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
    padded = torch.cat([tokens, torch.zeros(1, 4, dtype=torch.long)], dim=1)
    labels = padded.clone()
    labels[:, 12:] = -100
    mask = (torch.arange(16) < 12).long()[None]
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
    positions = torch.cat([torch.arange(7), torch.arange(12)])[None]
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


def test_output_head_finds_a_scale_and_a_soft_cap():
    model = make_model("olmoe")
    inputs = {"input_ids": random_tokens(1, 8)}
    assert find_output_head(model, inputs).soft_cap is None
    plain = model.forward

    def changed(change):
        def forward(*args, **kwargs):
            outputs = plain(*args, **kwargs)
            outputs.logits = change(outputs.logits)
            return outputs

        return forward

    model.config.final_logit_softcapping = 30.0
    model.forward = changed(lambda logits: 30 * torch.tanh(logits / 30))
    assert find_output_head(model, inputs).soft_cap == 30.0
    model.config.logits_scaling = 8.0
    model.forward = changed(lambda logits: logits / 8)
    assert find_output_head(model, inputs).logit_scale == pytest.approx(1 / 8)
    model.forward = changed(lambda logits: logits**2)
    with pytest.raises(ValueError, match="not known"):
        find_output_head(model, inputs)


def test_padding_of_the_vocabulary_is_no_token():
    """Some models cut off what their output layer has for rows of padding; nothing of it may be scored."""
    model = make_model("olmoe")
    layers = find_moe_layers(model)
    padded = torch.nn.Linear(model.lm_head.in_features, 104)
    with torch.no_grad():
        padded.weight[:96] = model.lm_head.weight
    plain, model.lm_head = model.forward, padded

    def forward(*args, **kwargs):
        outputs = plain(*args, **kwargs)
        outputs.logits = outputs.logits[..., :96]
        return outputs

    model.forward = forward
    tokens = random_tokens(2, 16)
    scorer = FitnessScorer(model, batches_of(tokens))
    with torch.no_grad():
        teacher = model(input_ids=tokens).logits[:, :-1].flatten(0, 1)
        with VirtualSlice(layers, random_kept(layers, 3)):
            student = model(input_ids=tokens).logits[:, :-1].flatten(0, 1)
            assert scorer.score().mean == pytest.approx(slow_esap(teacher, student), abs=1e-5)


def test_own_fitness():
    @register_fitness("test_agreement")
    def agreement(block):
        return (block.teacher_logits.argmax(-1) == block.student_logits.argmax(-1)).float()

    try:
        assert (
            FitnessScorer(make_model("olmoe"), batches_of(random_tokens(1, 9)), "test_agreement").score().mean == 1.0
        )
        FITNESSES["test_agreement"] = lambda block: agreement(block).mean()
        with pytest.raises(ValueError, match="one value a position"):
            FitnessScorer(make_model("olmoe"), batches_of(random_tokens(1, 9)), "test_agreement").score()
    finally:
        FITNESSES.pop("test_agreement")


def test_a_candidate_that_overflows_is_refused():
    model = make_model("olmoe")
    scorer = FitnessScorer(model, batches_of(random_tokens(1, 9)))
    model.model.norm.weight.data[0] = float("inf")
    with pytest.raises(ValueError, match="fitness 'esap' of a candidate is nan"):
        scorer.score()
