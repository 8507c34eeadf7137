# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Whether a result fits a model: another base warns, another shape and wrong experts are refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from tests.model_matrix import make_model


def test_another_base_of_the_same_shape_warns(searched_runs, caplog):
    MoEPruner(make_model("olmoe", seed=1)).apply(searched_runs["olmoe"])
    assert "The weights of a model made in memory are not those of a model made in memory" in caplog.text
    assert "only read in another way" not in caplog.text
    caplog.clear()
    model = make_model("olmoe").to(torch.bfloat16)
    MoEPruner(model).apply(searched_runs["olmoe"])
    assert "only read in another way: dtype float32 there, bfloat16 here" in caplog.text


def test_without_a_digest_the_names_are_compared(searched_runs, caplog):
    found = dataclasses.replace(PruningResult.load(searched_runs["olmoe"]), base_weights=None, base_model="me/base")
    model = make_model("olmoe")
    model.config.name_or_path = "me/base"
    MoEPruner(model).apply(found)
    assert not caplog.records
    model = make_model("olmoe")
    model.config.name_or_path = "me/other"
    MoEPruner(model).apply(found)
    assert "The result is of me/base, the model is me/other" in caplog.text


def test_another_shape_is_refused_before_weights_are_read(searched_runs, tmp_path):
    make_model("deepseek_v3").config.save_pretrained(tmp_path)  # no weights at all
    with pytest.raises(
        ValueError, match=r"of a model made in memory \(olmoe, layers 0 to 2: 3 x 8 experts\).*deepseek"
    ):
        MoEPruner.from_pretrained(tmp_path, result=searched_runs["olmoe"])
    pruner = MoEPruner(make_model("deepseek_v3"), EvoESAPConfig(sparsity=0.5))
    with pytest.raises(ValueError, match="cannot be applied"):
        pruner.apply(searched_runs["olmoe"])
    pruner.apply(searched_runs["deepseek_v3"])  # a refusal leaves the model as it was


def test_wrong_experts_are_refused_before_weights_are_read(searched_runs, tmp_path):
    found = PruningResult.load(searched_runs["deepseek_v3"])
    layer = found.sparse_layers[0]
    kept = found.kept_experts[layer]
    size = found.num_experts[0] // 3
    absent = next(expert for expert in range(size) if expert not in kept)
    other_group = [expert for expert in kept if expert != kept[-1]] + [absent]
    too_few = [0, size, 2 * size]
    cases = [
        ({layer: [*kept[:-1], 99]}, None, "keeps the experts .*99"),
        ({layer: [*kept[:-1], kept[0]]}, None, "keeps the experts"),
        ({layer: other_group}, None, "3 groups of layer .* must stay equal"),
        ({layer: kept[:-1]}, None, "contradicts itself"),
        ({layer: too_few}, len(too_few), f"removes {found.num_experts[0] - 3} .*can go"),
        ({layer + 7: kept}, None, "keeps experts of the layers"),
    ]
    make_model("deepseek_v3").config.save_pretrained(tmp_path)
    for changed, count, message in cases:
        allocation = list(found.allocation)
        if count is not None:
            allocation[0] = found.num_experts[0] - count
        wrong = dataclasses.replace(found, kept_experts=found.kept_experts | changed, allocation=allocation)
        with pytest.raises(ValueError, match=message):
            MoEPruner.from_pretrained(tmp_path, result=wrong)
