# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A non-uniform result is a valid model to prune: the whole way twice, from a folder and in memory."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.memory import aligned
from tests.model_matrix import make_model
from tests.pruning import SMALL, TOKENS, rows

from .checkpoints import logits


SEARCH = {name: value for name, value in SMALL.items() if name != "sparsity"}
MODEL_TYPES = ["olmoe", "qwen3_moe", "deepseek_v3", "gpt_oss", "qwen3_vl_moe"]


def counts(pruner):
    return [layer.num_experts for layer in pruner.layers]


@pytest.fixture(params=MODEL_TYPES)
def first(request, tmp_path):
    """A first run, searched, whose result is not uniform; its folder."""
    pruner = MoEPruner(make_model(request.param), EvoESAPConfig(sparsity=0.25, **SEARCH))
    pruner.calibrate(rows())
    pruner.rank()
    pruner.search(rows(seed=1))
    # The search may like the uniform allocation; then one expert of each group goes from another layer.
    unit, (one, *others) = pruner.layers[0].num_groups, pruner.allocation
    pruner.apply(pruner.allocation if set(others) != {one} else [one - unit, *others[:-1], one + unit])
    pruner.save_pretrained(tmp_path / "first")
    assert len(set(counts(pruner))) > 1
    return pruner, tmp_path / "first"


def prune_again(pruner, folder):
    """The second run, by its stages; returns logits under the virtual slice and of the sliced model."""
    pruner.calibrate(rows(seed=2))
    pruner.rank()
    pruner.search(rows(seed=3))
    with VirtualSlice(pruner.layers, pruner.kept_experts):
        virtual = logits(pruner.model, TOKENS)
    pruner.apply()
    pruner.save_pretrained(folder)
    return virtual, logits(pruner.model, TOKENS)


def test_prune_a_pruned_model(first, tmp_path):
    before, folder = first
    left = counts(before)
    config = EvoESAPConfig(sparsity=0.25, **SEARCH)
    from_folder, in_memory = MoEPruner.from_pretrained(folder, config), MoEPruner(before.model, config)
    aligned(from_folder.model)
    answers = [prune_again(from_folder, tmp_path / "second"), prune_again(in_memory, tmp_path / "in_memory")]

    unit = from_folder.layers[0].num_groups
    budget = sum(unit * round(0.25 * count / unit) for count in left)
    assert from_folder.allocation == in_memory.allocation and sum(from_folder.allocation) == budget > 0
    assert from_folder.kept_experts == in_memory.kept_experts
    removed = before.result.budget + budget
    assert sum(counts(from_folder)) == sum(before.result.num_experts) - removed
    assert counts(from_folder) == [count - gone for count, gone in zip(left, from_folder.allocation)]

    for virtual, sliced in answers:
        assert torch.equal(virtual, sliced) and torch.equal(sliced, answers[0][1])
    reloaded = aligned(type(from_folder.model).from_pretrained(tmp_path / "second"))
    assert torch.equal(logits(reloaded, TOKENS), answers[0][1])

    result = PruningResult.load(tmp_path / "second")
    assert result.num_experts == left and result.allocation == from_folder.allocation
    assert result.parameters["before"] == before.result.parameters["after"] > result.parameters["after"]
    assert result.base_model == str(folder) and result.scores["best"] >= result.scores["uniform"]
    card = (tmp_path / "second" / "README.md").read_text()
    assert f"a local model with {budget} of its {sum(left)} routed experts" in card
    for layer, count, gone in zip(result.sparse_layers, left, result.allocation):
        assert f"| {layer} | {count - gone} of {count} |" in card
    assert str(folder) not in card


def test_the_same_share_from_each_layer_of_a_pruned_model(tmp_path):
    pruner = MoEPruner(make_model("olmoe"), EvoESAPConfig(sparsity=None, allocation=[4, 0, 2], sequence_length=16))
    pruner.prune(None, rows())
    again = MoEPruner(pruner.model, EvoESAPConfig(sparsity=0.5, allocation="uniform", sequence_length=16))
    again.prune(tmp_path, rows())
    assert again.allocation == [2, 4, 3] and counts(again) == [2, 4, 3]
    card = (tmp_path / "README.md").read_text()
    assert "loses the same share" in card and "import optimum_evoesap" in card
