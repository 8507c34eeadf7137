# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Super experts: the largest norms as the experts gave them, who is one, and that they stay."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, PruningResult
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.calibration.statistics import ExpertStatistics, LayerStatistics
from optimum_evoesap.calibration.super_experts import super_experts, with_super_experts
from tests.calibration.slow_statistics import MASK, TOKENS
from tests.model_matrix import MODEL_TYPES, layers_of, make_model, sparse_model_of
from tests.pruning import make_pruner, rows


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_the_largest_norm_is_that_of_a_route_that_counts(model_type):
    model = make_model(model_type)
    mask = None if model_type == "diffusion_gemma" else MASK
    inputs = {"input_ids": TOKENS} | ({} if mask is None else {"attention_mask": mask})
    largest, calls = {}, {}
    with ExitStack() as undo, torch.no_grad():
        for layer in layers_of(model):
            for number, block in enumerate(layer.blocks):
                block.observe(calls.setdefault((layer.index, number * layer.experts_per_block), []).append, undo)
        torch.manual_seed(0)
        model(**inputs, use_cache=False)
    for (layer, offset), seen in calls.items():
        for routes in seen:
            each = (routes.experts, routes.weights, routes.norms, routes.tokens)
            for expert, weight, norm, token in zip(*(values.tolist() for values in each)):
                if weight != 0 and (mask is None or mask.reshape(-1)[token]):
                    key = (layer, offset + expert)
                    largest[key] = max(largest.get(key, 0.0), norm)
    halves = (
        [inputs] if mask is None else [{k: v[:1] for k, v in inputs.items()}, {k: v[1:] for k, v in inputs.items()}]
    )
    torch.manual_seed(0)
    found = observe_experts(sparse_model_of(model), halves, progress=False)
    for layer, sums in found.layers.items():
        expected = [largest.get((layer, expert), 0.0) for expert in range(len(sums.norm_max))]
        torch.testing.assert_close(sums.norm_max, torch.tensor(expected).double(), rtol=1e-4, atol=1e-5)
        assert ((sums.norm_max > 0) == (sums.norm_sum > 0)).all()
        assert (sums.norm_max * sums.routed_tokens >= sums.norm_sum * (1 - 1e-9)).all()


def with_norms(*norms):
    layers = {}
    for layer, values in enumerate(norms):
        layers[layer] = LayerStatistics.zeros(len(values))
        layers[layer].norm_max = torch.tensor(values).double()
    return ExpertStatistics(layers, 1)


def test_who_is_one():
    ordinary = [1.0] * 400
    assert super_experts(with_norms(ordinary, ordinary)) == {}
    assert super_experts(with_norms(ordinary, [90.0, *ordinary[2:], 100.0])) == {1: [0, 399]}
    assert super_experts(with_norms([5.0, *ordinary], [*ordinary[1:], 100.0])) == {1: [399]}, "5 is no tenth of 100"
    assert len(super_experts(with_norms(list(map(float, range(1, 1001)))))[0]) == 5, "one in two hundred at most"
    merged = with_super_experts({1: [3], 4: [0]}, with_norms(ordinary, [90.0, *ordinary[2:], 100.0]))
    assert merged == {1: [0, 3, 399], 4: [0]}


@pytest.mark.parametrize("model_type", ["olmoe", "deepseek_v3"])
def test_they_stay(model_type, tmp_path):
    free = make_pruner(model_type, criterion="frequency")
    layer = free.sparse_layers[-1]
    used = free.calibrate(rows()).layers[layer].routed_tokens
    # The expert that would go first of those that are used gets outputs that are larger than all others.
    super_expert = next(expert for expert in free.rank()[layer] if used[expert])
    pruner = make_pruner(model_type, criterion="frequency", protect_super_experts=True)
    for part in (part for part in pruner.layers[-1].blocks[0].expert_parts if part.name.startswith("down_proj")):
        part.value.data[super_expert] *= 1e4
    pruner.calibrate(rows())
    found = super_experts(pruner.statistics)
    assert found == {layer: [super_expert]}
    pruner.rank()
    assert pruner.space.protected[-1] == {super_expert} and not any(pruner.space.protected[:-1])
    groups = pruner.layers[-1].num_groups
    size = len(pruner.order[layer]) // groups
    of_its_group = [expert for expert in pruner.order[layer] if expert // size == super_expert // size]
    assert of_its_group[-1] == super_expert
    pruner.search(rows(seed=1))
    pruner.apply()
    pruner.save_pretrained(tmp_path)
    result = PruningResult.load(tmp_path)
    assert result.protected_experts == found and super_expert in result.kept_experts[layer]
    assert "but for 1 that were to stay in any case" in (tmp_path / "README.md").read_text()
    assert EvoESAPConfig.from_pretrained(tmp_path).protect_super_experts
