# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A slow, obvious recomputation of the statistics, for every way in which experts are called."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack

import torch

from optimum_evoesap.adapters import DenseExperts, IdentityExperts, ListedExperts, RoutedExperts, SortedExperts
from tests.model_matrix import random_tokens


TOKENS = random_tokens(3, 10)
MASK = torch.ones_like(TOKENS)
MASK[1, 7:] = 0
MASK[2, 4:] = 0


def routes_of(block, calls):
    """Slowly, one token and one expert at a time: (token, expert, weight, norm) of each route of each call.

    For a route to no expert of the block the norm is 0.
    """
    for args, kwargs, output in calls:
        yield from ROUTES[type(block)](block, (*args, *kwargs.values()), output)


def routed_routes(block, inputs, output):
    hidden = inputs[0].flatten(0, -2)
    indices = next(each for each in inputs if not each.is_floating_point())
    weights = next(each for each in inputs[1:] if each.is_floating_point())
    for token in range(hidden.shape[0]):
        for expert, weight in zip(indices[token].tolist(), weights[token].tolist()):
            if expert >= block.num_experts:
                yield token, expert, weight, 0.0
            elif weight != 0:
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
    sums = {layer.index: torch.zeros(6, layer.num_experts, dtype=torch.float64) for layer in layers}
    calls = [(layer, number, block, []) for layer in layers for number, block in enumerate(layer.blocks)]
    with ExitStack() as undo:
        for _, _, block, noted in calls:
            watch(block, noted, undo)
        torch.manual_seed(0)
        model(input_ids=TOKENS, attention_mask=mask, use_cache=False)
    for layer, number, block, noted in calls:
        # Each call by itself: DiffusionGemma runs the same experts on other tokens too.
        for routes in (list(routes_of(block, [call])) for call in noted):
            of_token = defaultdict(float)
            for token, _, weight, _ in routes:
                of_token[token] += weight
            for token, expert, weight, norm in routes:
                if expert < block.num_experts and (mask is None or mask.reshape(-1)[token]):
                    place = number * layer.experts_per_block + expert
                    values = [1, norm, weight, weight * norm, weight / of_token[token] * norm, norm**2]
                    sums[layer.index][:, place] += torch.tensor(values, dtype=torch.float64)
    return sums
