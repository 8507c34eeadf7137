# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Statistics against a slow, obvious recomputation, for every architecture."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch

from optimum_evoesap.adapters import (
    DenseExperts,
    IdentityExperts,
    ListedExperts,
    RoutedExperts,
    SortedExperts,
    find_moe_layers,
)
from optimum_evoesap.calibration.criteria import CRITERIA, pruning_order, register_criterion
from optimum_evoesap.calibration.observer import ExpertObserver, observe_experts
from optimum_evoesap.calibration.statistics import ExpertStatistics, LayerStatistics
from optimum_evoesap.models.sparse_model import SparseModel
from tests.model_matrix import MODEL_TYPES, layers_of, make_model, random_tokens, sparse_model_of


TOKENS = random_tokens(3, 10)
MASK = torch.ones_like(TOKENS)
MASK[1, 7:] = 0
MASK[2, 4:] = 0


def routes_of(block, calls):
    """Slowly, one token and one expert at a time: (token, expert, weight, norm) of each route of each call."""
    for args, kwargs, output in calls:
        yield from ROUTES[type(block)](block, (*args, *kwargs.values()), output)


def routed_routes(block, inputs, output):
    hidden = inputs[0].flatten(0, -2)
    indices = next(each for each in inputs if not each.is_floating_point())
    weights = next(each for each in inputs[1:] if each.is_floating_point())
    for token in range(hidden.shape[0]):
        for expert, weight in zip(indices[token].tolist(), weights[token].tolist()):
            if expert < block.num_experts and weight != 0:
                # The same expert twice, as some modules cannot take one expert a token.
                twice, ones = (
                    hidden.new_tensor([[expert, expert]], dtype=indices.dtype),
                    hidden.new_tensor([[1.0, 0.0]]),
                )
                places = {id(indices): twice, id(weights): ones}
                order = [places.get(id(each), hidden[token : token + 1]) for each in inputs]
                yield token, expert, weight, block.experts[0](*order).double().norm().item()


def dense_routes(block, inputs, output):
    """Llama 4: the weight is inside, so the norm of a route is that of its output over its weight."""
    (routed,) = inputs
    weights = {tensor.name: tensor.value for tensor in block.expert_parts}
    gate_up, down = weights["gate_up_proj"], weights["down_proj"]
    by_expert = routed.view(block.num_experts, -1, routed.shape[-1])
    for expert, tokens in enumerate(by_expert):
        for token in tokens.abs().sum(-1).nonzero()[:, 0].tolist():
            gate, up = (tokens[token] @ gate_up[expert]).chunk(2)
            norm = ((up * torch.nn.functional.silu(gate)) @ down[expert]).double().norm().item()
            weight = block.scores[-1][token, expert].item()
            yield token, expert, weight, norm / weight


def sorted_routes(block, inputs, output):
    """JetMoE: rows come expert by expert; which token and weight each has, the router says."""
    rows, sizes = inputs
    _, tokens, weights, _, _ = block.routing[-1]
    position = 0
    for expert, size in enumerate(sizes):
        for _ in range(size):
            norm = (block.experts[0].output_linear.weight[expert] @ rows[position]).double().norm().item()
            yield tokens[position].item(), expert, weights[position].item(), norm
            position += 1


def listed_routes(block, inputs, output):
    """The two loops of the model with code of its own: softmax and renormalised, or sigmoid."""
    hidden = inputs[0].flatten(0, -2)
    module = block.experts[0]
    scores = module.gate(hidden)
    is_masked = hasattr(module, "num_experts")
    scores = scores.softmax(-1) if is_masked else scores.sigmoid()
    for token in range(hidden.shape[0]):
        chosen = scores[token].topk(block.top_k)
        weights = chosen.values / chosen.values.sum() if is_masked else chosen.values
        for expert, weight in zip(chosen.indices.tolist(), weights.tolist()):
            yield token, expert, weight, module.experts[expert](hidden[token]).double().norm().item()


ROUTES = {
    RoutedExperts: routed_routes,
    IdentityExperts: routed_routes,
    DenseExperts: dense_routes,
    SortedExperts: sorted_routes,
    ListedExperts: listed_routes,
}


def watch(block, calls, undo):
    """Note the calls of a block's experts, and what its router returned where the call does not say it."""

    def note(module, args, kwargs, output):
        calls.append((args, kwargs, output))

    if isinstance(block, SortedExperts):
        block.routing = []
        watched = [block.experts[0].output_linear]
        handle = block.experts[0].router.register_forward_hook(lambda m, a, out: block.routing.append(out))
        undo.callback(handle.remove)
    else:
        watched = block.experts
    if isinstance(block, DenseExperts):
        block.scores = []
        router = block.router_tensors[0].owners[0]
        undo.callback(router.register_forward_hook(lambda m, a, out: block.scores.append(out[0])).remove)
    for module in watched:
        undo.callback(module.register_forward_hook(note, with_kwargs=True).remove)


@torch.no_grad()
def recompute(model, layers, mask):
    sums = {layer.index: torch.zeros(4, layer.num_experts, dtype=torch.float64) for layer in layers}
    calls = [(layer, number, block, []) for layer in layers for number, block in enumerate(layer.blocks)]
    with ExitStack() as undo:
        for _, _, block, noted in calls:
            watch(block, noted, undo)
        torch.manual_seed(0)
        model(input_ids=TOKENS, attention_mask=mask, use_cache=False)
    for layer, number, block, noted in calls:
        for token, expert, weight, norm in routes_of(block, noted):
            if mask is None or mask.reshape(-1)[token]:
                place = number * layer.experts_per_block + expert
                sums[layer.index][:, place] += torch.tensor([1, norm, weight, weight * norm], dtype=torch.float64)
    return sums


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
        for sums, slow_sums in zip((found.norm_sum, found.weight_sum, found.weighted_norm_sum), expected[1:]):
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
    layer = a_layer([4, 2, 0, 1], [8.0, 10.0, 0.0, 3.0], [1.0, 1.5, 0.0, 0.5], [2.0, 3.0, 0.0, 1.25])
    expected = {
        "frequency": [4, 2, 0, 1],
        "ean": [8, 10, 0, 3],
        "seer": [1, 1.5, 0, 0.5],
        "reap": [0.5, 1.5, 0, 1.25],
    }
    for name, scores in expected.items():
        assert CRITERIA[name](layer).tolist() == scores
    order = pruning_order(ExpertStatistics({5: layer}, 3), "reap")
    assert order == {5: [2, 0, 3, 1]}


def test_equal_scores_go_by_expert_index():
    layer = a_layer([7] * 600, [0.0] * 600, [0.0] * 600, [0.0] * 600)
    assert pruning_order(ExpertStatistics({0: layer}, 1), "frequency") == {0: list(range(600))}


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
        CRITERIA["test_last_first"] = lambda statistics: torch.arange(4)
        with pytest.raises(ValueError, match="each of the 3 experts of layer 0"):
            pruning_order(ExpertStatistics({0: layer}, 1), "test_last_first")
    finally:
        CRITERIA.pop("test_last_first")
