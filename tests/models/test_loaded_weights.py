# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Files that do not hold all of a model: refused with the names of the tensors and what is likely wrong."""

from __future__ import annotations

import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from optimum_evoesap.models.loading import load_model
from tests.model_matrix import make_model


def rewrite(folder, change, model_type="qwen3_moe"):
    make_model(model_type).save_pretrained(folder)
    file = folder / "model.safetensors"
    changed = {}
    for name, tensor in load_file(file).items():
        changed |= change(name, tensor)
    save_file(changed, file, metadata={"format": "pt"})
    return str(folder)


def under_another_prefix(name, tensor):
    return {name.replace("model.layers", "model.text.layers") if ".experts." in name else name: tensor}


def without_a_layer(name, tensor):
    return {} if ".layers.1." in name else {name: tensor}


def without_an_expert(name, tensor):
    return {} if ".layers.0.mlp.experts.3." in name else {name: tensor}


def renamed_experts(name, tensor):
    return {name.replace("mlp.experts", "moe.expert_list"): tensor}


def another_width(name, tensor):
    return {name: tensor[:-1].clone() if name.endswith("layers.0.mlp.gate.weight") else tensor}


def without_the_head(name, tensor):
    return {} if name.startswith("lm_head") else {name: tensor}


def all_under_another_prefix(name, tensor):
    return {"transformer." + name.removeprefix("model."): tensor}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (under_another_prefix, r"missing \(model.layers.0.mlp.experts.*another prefix, as the files have model.text"),
        (without_a_layer, r"missing \(model.layers.1.*a missing shard \(all lie in the layers 1\)"),
        (without_an_expert, r"another shape .model.layers.0.mlp.experts.*experts are missing"),
        (renamed_experts, r"missing \(model.layers.0.mlp.experts.*named in another way.*moe.expert_list"),
        (another_width, r"1 have another shape \(model.layers.0.mlp.gate.weight: \(\d+, 32\) in place of \(\d+, 32\)"),
        (without_the_head, r"1 tensors of the model are missing \(lm_head.weight\).*missing shard, or"),
        (all_under_another_prefix, r"another prefix, as the files have transformer"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"ignore_mismatched_sizes": True}])
def test_a_model_that_would_be_partly_random(change, message, options, tmp_path):
    with pytest.raises(ValueError) as caught:
        load_model(rewrite(tmp_path, change), lambda bare: None, **options)
    assert re.search(message, str(caught.value), re.DOTALL), caught.value


def test_unexpected_tensors_are_said_once_and_stay_out(tmp_path, caplog):
    def more(name, tensor):
        return {name: tensor, **({"mtp.0.weight": torch.ones(3)} if name.startswith("lm_head") else {})}

    load_model(rewrite(tmp_path, more), lambda bare: None)
    assert caplog.text.count("mtp.0.weight") == 1
    assert "will not be in the pruned checkpoint: mtp.0.weight" in caplog.text


def test_a_file_that_is_cut_off(tmp_path):
    path = rewrite(tmp_path, lambda name, tensor: {name: tensor})
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(OSError, match="damaged or cut off"):
        load_model(path, lambda bare: None)


def another_module(name, tensor):
    return {name.replace("experts", "experts_of_others"): tensor}


@pytest.mark.parametrize("model_type", ["olmoe", "mixtral", "phimoe", "gpt_oss", "deepseek_v3", "llama4"])
@pytest.mark.parametrize("change", [another_module, renamed_experts])
def test_other_names_of_experts_are_refused_or_give_their_values(model_type, change, tmp_path):
    """transformers looks for names within names: what it finds so is loaded rightly, and nothing else is random."""
    path = rewrite(tmp_path, change, model_type)
    try:
        loaded = load_model(path, lambda bare: None).model.state_dict()
    except ValueError as error:
        assert "cannot be loaded whole" in str(error)
    else:
        assert all(torch.equal(tensor, loaded[name]) for name, tensor in make_model(model_type).state_dict().items())
