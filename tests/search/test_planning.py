# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Sizes, equal counts and protected experts, from the configuration to the checkpoint; impossible ones are refused."""

from __future__ import annotations

import json
import random

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from optimum_evoesap.models.size import checkpoint_size, removable_sizes
from tests.model_matrix import make_model, uniformly_kept
from tests.models.test_size import stored_bytes
from tests.pruning import SMALL, make_pruner, rows


# One with groups, with several blocks in a layer (both kinds), with lists, and with one expert tensor.
MODEL_TYPES = ["olmoe", "deepseek_v3", "jetmoe", "ernie4_5_vl_moe", "jamba", "gpt_oss"]


def options(**given):
    return {name: value for name, value in SMALL.items() if name != "sparsity"} | given


def small_pruner(model_type="olmoe", dtype=torch.float32, **given):
    return MoEPruner(make_model(model_type, dtype), EvoESAPConfig(**options(**given)))


def smallest(pruner):
    """Bytes of the smallest checkpoint that is possible."""
    sizes = removable_sizes(pruner.model, pruner.layers)
    gone = zip(pruner.space.max_removed, pruner.layers, sizes)
    return checkpoint_size(pruner.model) - sum(count // len(layer.blocks) * size for count, layer, size in gone)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_checkpoint_is_as_small_as_asked_for_and_no_smaller(model_type, dtype, tmp_path):
    pruner = small_pruner(model_type, dtype, sparsity=0.5)
    target = (checkpoint_size(pruner.model) + smallest(pruner)) // 2
    pruner = small_pruner(model_type, dtype, target_size=target, allocation="uniform")
    pruner.prune(tmp_path / "out", rows())
    assert 0 < pruner.space.budget < sum(pruner.space.max_removed) and not pruner.space.is_single
    assert stored_bytes(tmp_path / "out") <= target
    counts = list(pruner.allocation)
    counts[counts.index(max(counts))] -= pruner.space.unit
    fewer = small_pruner(model_type, dtype, sparsity=0.5)
    kept = [(layer.num_experts - count) // len(layer.blocks) for layer, count in zip(fewer.layers, counts)]
    fewer.apply({layer.index: uniformly_kept(layer, number) for layer, number in zip(fewer.layers, kept)})
    assert checkpoint_size(fewer.model) > target
    assert EvoESAPConfig.from_pretrained(tmp_path / "out").target_size == target


def test_a_size_for_a_search_and_what_is_said_of_impossible_ones(tmp_path):
    pruner = small_pruner(sparsity=0.5)
    whole, least = checkpoint_size(pruner.model), smallest(pruner)
    pruner = small_pruner(target_size=f"{(whole + least) / 2e3}kB")
    pruner.prune(tmp_path / "out", rows(), rows(seed=1))
    assert stored_bytes(tmp_path / "out") <= (whole + least) / 2
    assert small_pruner(target_size=least).space.is_single
    for size, message in ((least - 1, f"has {least} bytes of the {whole}"), (whole, "nothing has to go")):
        with pytest.raises(ValueError, match=message):
            small_pruner(target_size=size)
    with pytest.raises(ValueError, match="min_experts"):
        small_pruner(target_size=least, min_experts=3)


def test_sizes_that_are_too_small_are_refused_before_weights_are_read(tmp_path):
    model = make_model("olmoe", torch.bfloat16)
    model.config.save_pretrained(tmp_path)  # no weights at all
    pruner = MoEPruner(model, EvoESAPConfig(sparsity=0.5))
    least = smallest(pruner)
    for dtype, size in (("auto", least), (torch.bfloat16, least), ("float32", 2 * least)):
        for target, error in ((size - 1, ValueError), (size, OSError)):  # then there are no weights to read
            with pytest.raises(error, match=f"has {size} bytes" if error is ValueError else None):
                MoEPruner.from_pretrained(tmp_path, EvoESAPConfig(target_size=target), dtype=dtype)


def test_sizes_sparsities_and_counts_replace_each_other():
    config = EvoESAPConfig(target_size="1GB")
    assert config.sparsity is None and config.replace(seed=1).target_size == "1GB"
    assert config.replace(sparsity=0.5).target_size is None
    assert config.replace(allocation=[1, 2]).target_size is None
    assert EvoESAPConfig(sparsity=0.5).replace(target_size=10**9).sparsity is None
    assert EvoESAPConfig(allocation=[1, 2]).replace(allocation="uniform", target_size="1GB").sparsity is None


@pytest.mark.parametrize("given", [{"sparsity": 0.5}, {"target_size": "half"}])
def test_equal_counts(given, tmp_path):
    if "target_size" in given:
        pruner = small_pruner(sparsity=0.5)
        given = {"target_size": (checkpoint_size(pruner.model) + smallest(pruner)) // 2}
    pruner = small_pruner(uniform_counts=True, **given)
    assert pruner.space.is_single and len(set(pruner.space.uniform())) == 1
    assert pruner.space.random(random.Random(0)) == pruner.space.uniform()
    pruner.prune(tmp_path / "out", rows(), rows(seed=1))
    assert len(set(pruner.allocation)) == 1
    assert "per_layer_config" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_counts_that_cannot_be_equal_are_refused():
    with pytest.raises(ValueError, match="layer 1 can lose only 3"):
        small_pruner(sparsity=0.5, uniform_counts=True, keep={1: [0, 1, 2, 3, 4]})
    with pytest.raises(ValueError, match=r"removes \[1, 2, 3\] experts; give equal numbers"):
        small_pruner(allocation=[1, 2, 3], uniform_counts=True)
    assert small_pruner(allocation=[2, 2, 2], uniform_counts=True).space.is_single
    pruner = small_pruner(allocation=[1, 2, 3])
    pruner.calibrate(rows())
    pruner.rank()
    again = pruner.apply([1, 2, 3])
    with pytest.raises(ValueError, match="leaves one number of experts in every sparse layer"):
        MoEPruner(again, EvoESAPConfig(sparsity=0.25, uniform_counts=True))


@pytest.mark.parametrize("model_type", ["olmoe", "deepseek_v3", "ernie4_5_vl_moe"])
def test_protected_experts_stay(model_type, tmp_path):
    free = make_pruner(model_type, sparsity=0.5)
    free.calibrate(rows())
    order = free.rank()
    layer = free.sparse_layers[-1]
    keep = {layer: order[layer][:2]}  # those that would go first
    pruner = make_pruner(model_type, sparsity=0.5, keep=keep)
    whole = free.space.max_removed[-1]
    unit = free.layers[-1].num_groups
    assert pruner.space.max_removed[-1] == min(whole, order_limit(free.layers[-1], keep[layer], unit))
    assert pruner.space.max_removed[:-1] == free.space.max_removed[:-1]
    pruner.prune(tmp_path, rows(), rows(seed=1))
    assert set(keep[layer]) <= set(pruner.result.kept_experts[layer])
    assert pruner.order[free.sparse_layers[0]] == order[free.sparse_layers[0]]
    rest = [expert for expert in order[layer] if expert not in keep[layer]]
    size = len(order[layer]) // unit
    for group in range(unit):
        mine = [expert for expert in pruner.order[layer] if expert // size == group]
        assert [expert for expert in mine if expert not in keep[layer]] == [e for e in rest if e // size == group]
        assert set(mine[len(mine) - sum(expert in keep[layer] for expert in mine) :]) <= set(keep[layer])
    assert EvoESAPConfig.from_pretrained(tmp_path).keep == {layer: sorted(keep[layer])}
    assert "that were to stay in any case" in (tmp_path / "README.md").read_text()
    with pytest.raises(ValueError, match=rf"removes the protected experts .* of layer {layer}"):
        kept = dict(PruningResult.load(tmp_path).kept_experts)
        make_pruner(model_type, keep={layer: [e for e in order[layer] if e not in kept[layer]][:1]}).apply(kept)


def order_limit(layer, kept, unit):
    size = layer.num_experts // unit
    fullest = max(sum(expert // size == group for expert in kept) for group in range(unit))
    return (size - fullest) * unit


def test_protected_experts_that_are_not_there():
    with pytest.raises(ValueError, match=r"keep names the layers \[5\]; the sparse layers are \[0, 1, 2\]"):
        make_pruner(keep={5: [0]})
    with pytest.raises(ValueError, match=r"experts \[8\] of layer 1, which has those from 0 to 7"):
        make_pruner(keep={1: [3, 8]})
    with pytest.raises(ValueError, match="min_experts and keep"):
        make_pruner(sparsity=0.7, keep={0: [0, 1, 2, 3, 4, 5, 6]})
