# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Statistics against a slow, obvious recomputation, for every architecture."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.adapters import find_moe_layers
from optimum_evoesap.criteria import CRITERIA, pruning_order, register_criterion
from optimum_evoesap.observer import ExpertObserver, observe_experts
from optimum_evoesap.statistics import ExpertStatistics, LayerStatistics

from .model_matrix import MODEL_TYPES, make_model, random_tokens


TOKENS = random_tokens(3, 10)
MASK = torch.ones_like(TOKENS)
MASK[1, 7:] = 0
MASK[2, 4:] = 0


def recompute(model, layers):
    """One token, one expert at a time: run the experts module alone on each route that the router chose."""
    calls = {}
    handles = [
        layer.experts.register_forward_hook(
            lambda module, args, kwargs, output, index=layer.index: calls.__setitem__(
                index, (*args, *kwargs.values())
            ),
            with_kwargs=True,
        )
        for layer in layers
    ]
    with torch.no_grad():
        model.base_model(TOKENS, attention_mask=MASK)
    for handle in handles:
        handle.remove()
    sums = {}
    for layer in layers:
        hidden, indices, weights = calls[layer.index]
        sums[layer.index] = [[0] * layer.num_experts] + [[0.0] * layer.num_experts for _ in range(3)]
        for token in range(hidden.shape[0]):
            if MASK.reshape(-1)[token] == 0:
                continue
            for expert, weight in zip(indices[token].tolist(), weights[token].tolist()):
                with torch.no_grad():
                    output = layer.experts(
                        hidden[token : token + 1], torch.tensor([[expert]]), torch.ones(1, 1, dtype=hidden.dtype)
                    )
                norm = output.double().norm().item()
                for row, value in zip(sums[layer.index], (1, norm, weight, weight * norm)):
                    row[expert] += value
    return sums


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_statistics_are_those_of_a_slow_recomputation(model_type):
    model = make_model(model_type)
    model.set_experts_implementation("eager")
    layers = find_moe_layers(model)
    slow = recompute(model, layers)
    model.set_experts_implementation("grouped_mm")
    batches = [
        {"input_ids": TOKENS[:2], "attention_mask": MASK[:2]},
        {"input_ids": TOKENS[2:], "attention_mask": MASK[2:]},
    ]
    fast = observe_experts(model, layers, batches, progress=False)
    assert fast.num_tokens == int(MASK.sum())
    for layer in layers:
        found = fast.layers[layer.index]
        assert found.routed_tokens.tolist() == slow[layer.index][0]
        assert found.routed_tokens.sum() == layer.top_k * fast.num_tokens
        for sums, expected in zip((found.norm_sum, found.weight_sum, found.weighted_norm_sum), slow[layer.index][1:]):
            assert sums.dtype == torch.float64
            torch.testing.assert_close(sums, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_the_observed_model_computes_what_it_did_before(model_type):
    model = make_model(model_type)
    layers = find_moe_layers(model)
    with torch.no_grad():
        before = model(TOKENS).logits
        with ExpertObserver(layers) as observer:
            observer.next_batch(TOKENS, None)
            observed = model(TOKENS).logits
        after = model(TOKENS).logits
    torch.testing.assert_close(observed, before, rtol=1e-4, atol=1e-4)
    assert torch.equal(before, after), "leaving the observer must restore the model"


def test_no_expert_runs_on_a_token_that_was_not_routed_to_it():
    model = make_model("mixtral")
    layers = find_moe_layers(model)
    rows = []
    inner = layers[0].experts.forward
    with torch.no_grad(), ExpertObserver(layers) as observer:
        layers[0].experts.forward = lambda hidden, *rest: rows.append(hidden.shape[0]) or inner(hidden, *rest)
        observer.next_batch(TOKENS, None)
        model(TOKENS)
    assert rows == [TOKENS.numel() * layers[0].top_k]


def test_nan_weights_are_refused():
    model = make_model("olmoe")
    find_moe_layers(model)[1].expert_tensors[0].value.data[0] = float("nan")
    with pytest.raises(ValueError, match="layer 1 give NaN"):
        observe_experts(model, find_moe_layers(model), [{"input_ids": TOKENS}], progress=False)


def test_statistics_survive_the_disk(tmp_path):
    sums = LayerStatistics.zeros(4)
    sums.routed_tokens += torch.tensor([1, 2, 3, 4])
    sums.weight_sum += torch.rand(4, dtype=torch.float64)
    ExpertStatistics({3: sums, 12: LayerStatistics.zeros(2)}, 10).save(tmp_path / "s.safetensors")
    loaded = ExpertStatistics.load(tmp_path / "s.safetensors")
    assert loaded.num_tokens == 10 and list(loaded.layers) == [3, 12]
    assert torch.equal(loaded.layers[3].weight_sum, sums.weight_sum)
    assert torch.equal(loaded.layers[3].routed_tokens, sums.routed_tokens)


def a_layer(routed, norms, weights, weighted):
    as_sum = [torch.tensor(values, dtype=torch.float64) for values in (norms, weights, weighted)]
    return LayerStatistics(torch.tensor(routed), *as_sum)


def test_criteria_are_the_papers_formulas():
    layer = a_layer([4, 2, 0], [8.0, 10.0, 0.0], [1.0, 1.5, 0.0], [2.0, 3.0, 0.0])
    expected = {"frequency": [4, 2, 0], "ean": [8, 10, 0], "seer": [1, 1.5, 0], "reap": [0.5, 1.5, 0]}
    for name, scores in expected.items():
        assert CRITERIA[name](layer).tolist() == scores
    order = pruning_order(ExpertStatistics({5: layer}, 3), "reap")
    assert order == {5: [2, 0, 1]}


def test_order_takes_from_each_group_in_turn():
    layer = a_layer([6, 1, 2, 5, 4, 3], [0.0] * 6, [0.0] * 6, [0.0] * 6)
    order = pruning_order(ExpertStatistics({0: layer}, 3), "frequency", {0: 2})[0]
    assert order == [1, 5, 2, 4, 0, 3]


def test_own_criterion():
    @register_criterion("test_last_first")
    def last_first(statistics):
        return -torch.arange(len(statistics.routed_tokens))

    try:
        layer = a_layer([1, 1, 1], [0.0] * 3, [0.0] * 3, [0.0] * 3)
        assert pruning_order(ExpertStatistics({0: layer}, 1), "test_last_first") == {0: [2, 1, 0]}
        with pytest.raises(ValueError, match="exists already"):
            register_criterion("reap")(last_first)
        CRITERIA["test_last_first"] = lambda statistics: torch.tensor([1.0, float("nan"), 0.0])
        with pytest.raises(ValueError, match="one finite score"):
            pruning_order(ExpertStatistics({0: layer}, 1), "test_last_first")
    finally:
        CRITERIA.pop("test_last_first")
