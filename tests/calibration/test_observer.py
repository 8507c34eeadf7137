# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Statistics against a slow, obvious recomputation, for every architecture."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.adapters import find_moe_layers
from optimum_evoesap.calibration.observer import ExpertObserver, observe_experts
from optimum_evoesap.models.sparse_model import SparseModel
from tests.calibration.slow_statistics import MASK, TOKENS, recompute
from tests.model_matrix import MODEL_TYPES, layers_of, make_model, sparse_model_of


SUMS = ("norm_sum", "weight_sum", "weighted_norm_sum", "renormalised_norm_sum", "squared_norm_sum")


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_statistics_are_those_of_a_slow_recomputation(model_type):
    model = make_model(model_type)
    layers = layers_of(model)
    # DiffusionGemma's experts see tokens that are not in the text; padding cannot be told there.
    mask = None if model_type == "diffusion_gemma" else MASK
    slow = recompute(model, layers, mask)
    parts = [(TOKENS, mask)] if mask is None else [(TOKENS[:2], mask[:2]), (TOKENS[2:], mask[2:])]
    batches = [{"input_ids": tokens} | ({} if part is None else {"attention_mask": part}) for tokens, part in parts]
    torch.manual_seed(0)
    fast = observe_experts(sparse_model_of(model), batches, progress=False)
    assert fast.num_tokens == (TOKENS.numel() if mask is None else int(MASK.sum()))
    for layer in layers:
        found, expected = fast.layers[layer.index], slow[layer.index]
        assert found.routed_tokens.tolist() == expected[0].tolist()
        assert found.routed_tokens.sum() > 0
        for name, slow_sums in zip(SUMS, expected[1:], strict=True):
            sums = getattr(found, name)
            assert sums.dtype == torch.float64
            torch.testing.assert_close(sums, slow_sums, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_the_observed_model_computes_what_it_did_before(model_type):
    model = make_model(model_type)
    layers = layers_of(model)

    def logits():
        torch.manual_seed(0)
        return model(input_ids=TOKENS).logits

    with torch.no_grad():
        before = logits()
        with ExpertObserver(layers) as observer, observer.batch(TOKENS):
            observed = logits()
        after = logits()
    torch.testing.assert_close(observed, before, rtol=1e-4, atol=1e-4)
    assert torch.equal(before, after), "leaving the observer must restore the model"


def test_padding_that_cannot_be_told_is_refused():
    model = make_model("diffusion_gemma")
    with pytest.raises(ValueError, match="Give the calibration data without padding"):
        observe_experts(sparse_model_of(model), [{"input_ids": TOKENS, "attention_mask": MASK}], progress=False)


@pytest.mark.parametrize("implementation", ["eager", "batched_mm", "grouped_mm"])
def test_every_experts_implementation_gives_the_same_statistics(implementation):
    model = make_model("olmoe")
    layers = layers_of(model)
    expected = recompute(model, layers, MASK)
    model.set_experts_implementation(implementation)
    found = observe_experts(sparse_model_of(model), [{"input_ids": TOKENS, "attention_mask": MASK}], progress=False)
    for layer in layers:
        torch.testing.assert_close(
            found.layers[layer.index].weighted_norm_sum, expected[layer.index][3], rtol=1e-5, atol=1e-5
        )


def test_a_forward_pass_that_the_observer_does_not_see_is_noticed():
    with (
        pytest.raises(RuntimeError, match="No experts were seen"),
        ExpertObserver(layers_of(make_model("olmoe"))) as observer,
        observer.batch(TOKENS),
    ):
        make_model("olmoe")(TOKENS)


def test_no_expert_runs_on_a_token_that_was_not_routed_to_it():
    model = make_model("mixtral")
    layers = find_moe_layers(model)
    rows = []
    (experts,) = layers[0].blocks[0].experts
    inner = experts.forward
    with torch.no_grad(), ExpertObserver(layers) as observer:
        experts.forward = lambda hidden, *rest: rows.append(hidden.shape[0]) or inner(hidden, *rest)
        with observer.batch(TOKENS):
            model(TOKENS)
    assert rows == [TOKENS.numel() * layers[0].top_k]


def test_nan_weights_are_refused():
    model = make_model("olmoe")
    find_moe_layers(model)[1].blocks[0].expert_parts[0].value.data[0] = float("nan")
    with pytest.raises(ValueError, match="layer 1 give NaN"):
        observe_experts(SparseModel(model), [{"input_ids": TOKENS}], progress=False)


def test_renormalised_weights_are_those_of_a_router_that_renormalises():
    """OLMoE's router can do either; the softmax before the choice is the same."""
    found = {}
    for renormalises in (False, True):
        model = make_model("olmoe")
        for module in model.modules():
            if hasattr(module, "norm_topk_prob"):
                module.norm_topk_prob = renormalises
        found[renormalises] = observe_experts(sparse_model_of(model), [{"input_ids": TOKENS}], progress=False).layers
    first = min(found[True])
    assert not torch.allclose(found[False][first].weighted_norm_sum, found[True][first].weighted_norm_sum, rtol=1e-2)
    for sums in found.values():
        torch.testing.assert_close(
            sums[first].renormalised_norm_sum, found[True][first].weighted_norm_sum, rtol=1e-5, atol=1e-5
        )
